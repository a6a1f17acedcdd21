#!lua flags=allow-oom
-- Renews the leases a worker holds, by this server's clock. A lease that was taken away stays away.
--
-- ARGV: lease in ms, tokens
-- Returns the tokens that are no longer held
--
-- Uses: clock, keys.

local gone = {}
for i = 2, #ARGV do
  if redis.call('HEXISTS', CLAIMS, ARGV[i]) == 1 then
    redis.call('ZADD', LEASES, 'XX', NOW + tonumber(ARGV[1]), ARGV[i])
  else
    gone[#gone + 1] = ARGV[i]
  end
end
return gone
