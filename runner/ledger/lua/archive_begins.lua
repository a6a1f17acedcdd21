#!lua flags=allow-oom
-- Begins to copy to an archive, if the ledger is copied to no other one. With '1' it takes the place of another, or is
-- filled anew: what was copied is to be copied again, in portions.
--
-- Keys: NS:archive (a hash: identity, that of the archive; ledger, what it knows this one by), NS:archived, NS:prunable.
-- No run changes its state.
--
-- ARGV: the identity, '1' to copy all again, how many runs at most
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
