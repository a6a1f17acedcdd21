-- Counts the runs of a job, and returns how long the last ones waited and ran. Changes nothing.
--
-- Keys: NS:job:JOB:STATE (or NS:step-job:JOB:STATE), NS:succeeded, and NS:run:ID of the sampled runs. The counts are
-- read from the indexes.
--
-- ARGV: job, number of the newest SUCCESS and of the newest FAILURE to sample, '1' to count its runs as a step of flows
--       instead of the others, then the ms at which days begin; the last one is the end of the last day
-- Returns {number of runs in PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED; ms of the last success | ''; SUCCESS,
-- FAILURE, REVOKED of each day; ms submitted, waited | '', ran | '' of each sampled run}
--
-- Uses: keys.

local job, sample = ARGV[1], tonumber(ARGV[2])
local index_of = ARGV[3] == '1' and step_job_key or job_key

local counts = {}
for i, state in ipairs({ 'PENDING', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED' }) do
  counts[i] = redis.call('ZCARD', index_of(job, state))
end

local days = {}
for i = 4, #ARGV - 1 do
  for _, state in ipairs({ 'SUCCESS', 'FAILURE', 'REVOKED' }) do
    days[#days + 1] = redis.call('ZCOUNT', index_of(job, state), ARGV[i], '(' .. ARGV[i + 1])
  end
end

local times = {}
for _, state in ipairs({ 'SUCCESS', 'FAILURE' }) do
  for _, id in ipairs(redis.call('ZRANGE', index_of(job, state), 0, sample - 1, 'REV')) do
    local held = redis.pcall('HMGET', run_key(id), 'submitted_at', 'eta', 'started_at', 'finished_at', 'attempts')
    local function moment(i)
      return held[i] and #held[i] < 16 and string.find(held[i], '^%d+$') and tonumber(held[i]) or nil
    end
    local submitted, eta, started, finished, attempts = moment(1), moment(2), moment(3), moment(4), held[5]
    local wait, ran = '', ''
    if started and finished then
      ran = tostring(math.max(0, finished - started))
      -- The start of a later attempt does not show how long the run waited for its first.
      if attempts == '1' and submitted then
        wait = tostring(math.max(0, started - math.max(submitted, eta or 0)))
      end
    end
    times[#times + 1] = tostring(submitted or 0)
    times[#times + 1] = wait
    times[#times + 1] = ran
  end
end
return { counts, redis.call('HGET', SUCCEEDED, job) or '', days, times }
