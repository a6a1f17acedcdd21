#!lua flags=allow-oom
-- Ends a pause. The next beats release the runs that were set aside, in portions and in their order, and the flows of
-- the job. The count of failures for `pause_after` starts again: NS:failed-in-row holds the number at this time.
--
-- ARGV: job, or `*` for the pause of all; by
-- Returns 1, or 0 if there was no pause
--
-- Uses: keys, acts.

local ended = redis.call('HDEL', PAUSED, ARGV[1])
if ended == 1 then
  local in_row = string.match(redis.call('HGET', FAILED_IN_ROW, ARGV[1]) or '', '^%d+')
  if in_row then redis.call('HSET', FAILED_IN_ROW, ARGV[1], in_row .. ' ' .. in_row) end
  audit('resume', ARGV[2], ARGV[1])
  local MOST = 1000  -- the others are checked within a minute
  local lists = ARGV[1] == '*' and { FLOWS } or { job_key(ARGV[1], 'STARTED'), step_job_key(ARGV[1], 'STARTED') }
  for _, list in ipairs(lists) do
    for _, id in ipairs(redis.call('ZRANGE', list, 0, MOST - 1)) do redis.call('ZADD', FLOWS, 'XX', 0, id) end
  end
end
return ended
