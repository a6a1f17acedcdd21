#!lua flags=allow-oom
-- Looks through a portion of leases for those whose claim is gone; with '1', removes them.
--
-- Keys: NS:leases, NS:claims. No run changes its state.
--
-- ARGV: '1' to mend, tokens
-- Returns the tokens of such leases
--
-- Uses: keys.

local found = {}
for i = 2, #ARGV do
  if redis.call('HEXISTS', CLAIMS, ARGV[i]) == 0 and redis.call('ZSCORE', LEASES, ARGV[i]) then
    found[#found + 1] = ARGV[i]
    if ARGV[1] == '1' then redis.call('ZREM', LEASES, ARGV[i]) end
  end
end
return found
