#!lua flags=allow-oom
-- Ends a pause. What was set aside goes on in portions, with the next beats: in its order. The failures that
-- `pause_after` counts begin anew: NS:failed-in-row notes how many there were.
--
-- ARGV: job, or `*` for the pause of all; by
-- Returns 1, or 0 if it was not paused
--
-- Uses: keys, acts.

local ended = redis.call('HDEL', PAUSED, ARGV[1])
if ended == 1 then
  local in_row = string.match(redis.call('HGET', FAILED_IN_ROW, ARGV[1]) or '', '^%d+')
  if in_row then redis.call('HSET', FAILED_IN_ROW, ARGV[1], in_row .. ' ' .. in_row) end
  audit('resume', ARGV[2], ARGV[1])
end
return ended
