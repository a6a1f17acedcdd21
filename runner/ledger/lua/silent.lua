#!lua flags=allow-oom
-- Records that jobs have not succeeded for too long, once per outage: an entry `JOB silent AT` of NS:outbox, whose
-- hooks fire like all others. NS:silent holds, by job, the last success (0: there was none) before the recorded outage.
--
-- The caller found that the jobs are late. This checks again, because it may have changed since. No run changes its
-- state.
--
-- ARGV: for each job its name, the ms within which a run must succeed, and '1' if none ever has
-- Returns the number of written entries
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
