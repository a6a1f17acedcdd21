#!lua flags=allow-oom
-- Records that the archive lost finished runs because earlier runs with the same ids were forgotten: those that count
-- as copied must be copied again.
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
