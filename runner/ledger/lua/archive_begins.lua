#!lua flags=allow-oom
-- Begins to copy to an archive, unless the ledger is copied to another one. '1' replaces the other archive or fills the
-- same one again: all copied runs are marked to be copied again, in portions.
--
-- Keys: NS:archive (a hash: identity, the identity of the archive; ledger, the archive's id for this ledger),
-- NS:archived, NS:prunable. No run changes its state.
--
-- ARGV: the identity, '1' to copy everything again, maximum number of runs
-- Returns 'ready' | 'more' (call again) | 'other'
--
-- Uses: keys.

local identity, again, most = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local held = redis.call('HGET', ARCHIVE, 'identity')
if not again then
  if held and held ~= identity then return 'other' end
  if not held then redis.call('HSET', ARCHIVE, 'identity', identity) end
  return 'ready'
end
redis.call('HSET', ARCHIVE, 'identity', identity)
local moved = redis.call('ZRANGE', ARCHIVED, 0, most - 1, 'WITHSCORES')
for i = 1, #moved, 2 do
  redis.call('ZREM', ARCHIVED, moved[i])
  redis.call('ZADD', PRUNABLE, moved[i + 1], moved[i])
end
return redis.call('EXISTS', ARCHIVED) == 1 and 'more' or 'ready'
