#!lua flags=allow-oom
-- Notes that finished runs left the archive, as others that had their ids were forgotten: what counts as copied of them
-- is to be copied again.
--
-- Keys: NS:archived, NS:prunable. No run changes its state.
--
-- ARGV: ids
--
-- Uses: keys.

for _, id in ipairs(ARGV) do
  local due = redis.call('ZSCORE', ARCHIVED, id)
  if due then
    redis.call('ZREM', ARCHIVED, id)
    redis.call('ZADD', PRUNABLE, due, id)
  end
end
