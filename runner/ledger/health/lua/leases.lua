#!lua flags=allow-oom
-- Checks a portion of the leases for those without a claim; with '1', removes them.
--
-- Keys: NS:leases, NS:claims. No run changes its state.
--
-- ARGV: '1' to repair, tokens
-- Returns the tokens of the leases without a claim
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
