#!lua flags=allow-oom
-- Renews the leases of a worker, by the clock of the server. A lease that was taken from the worker is not restored.
--
-- ARGV: lease in ms, tokens
-- Returns the tokens that the worker no longer holds
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
