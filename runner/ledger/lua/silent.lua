#!lua flags=allow-oom
-- Notes that jobs have not succeeded for too long, once in each outage: an entry `JOB silent AT` of NS:outbox, whose hooks
-- are fired as others are. NS:silent holds, by job, the last success (0: there was none) before the outage that was noted.
--
-- The caller has found the jobs late. What may have changed since is checked again. No run changes its state.
--
-- ARGV: for each job its name, the ms within which a run is to succeed, and '1' if none ever has
-- Returns how many entries were written
--
-- Uses: clock, keys, pauses.

local noted = 0
for i = 1, #ARGV, 3 do
  local job, limit, never = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1'
  local last = redis.call('HGET', SUCCEEDED, job) or '0'
  local late = last == '0' and never or last ~= '0' and NOW - (tonumber(last) or NOW) > limit
  if late and redis.call('HGET', SILENT, job) ~= last and not pause_of({ job = job }) then
    redis.call('HSET', SILENT, job, last)
    redis.call('ZADD', OUTBOX, AT, job .. ' silent ' .. last)
    noted = noted + 1
  end
end
return noted
