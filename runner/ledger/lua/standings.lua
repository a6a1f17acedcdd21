-- Returns the status of jobs: the number of waiting and active runs, and the end of the last run. Changes nothing. The
-- cost does not depend on the number of runs.
--
-- Keys: NS:job:JOB:STATE, and NS:run:ID of one ended run of each job.
--
-- ARGV: jobs
-- Returns for each {number of runs in PENDING, STARTED, RETRY; id of the waiting run that was submitted first | '',
-- when | ''; of the ended run that was submitted last: state | '', id, reason, finished_at (ms); id of the last run
-- that ended in FAILURE, '' if one that was submitted later ended in SUCCESS}
--
-- Uses: keys.

local function first_of(job, state, ...)
  local found = redis.call('ZRANGE', job_key(job, state), 0, 0, ...)
  return found[1], tonumber(found[2])
end

local answer = {}
for i, job in ipairs(ARGV) do
  local told = {}
  for j, state in ipairs({ 'PENDING', 'STARTED', 'RETRY' }) do
    told[j] = redis.call('ZCARD', job_key(job, state))
  end

  local waiting, since
  for _, state in ipairs({ 'PENDING', 'RETRY' }) do
    local id, at = first_of(job, state, 'WITHSCORES')
    if id and (not since or at < since) then waiting, since = id, at end
  end

  local last, latest, ended = nil, nil, ''
  local newest, at_of = {}, {}
  for _, state in ipairs({ 'SUCCESS', 'FAILURE', 'REVOKED' }) do
    local id, at = first_of(job, state, 'REV', 'WITHSCORES')
    newest[state], at_of[state] = id, at
    if id and (not latest or at > latest) then last, latest, ended = id, at, state end
  end
  local failing = newest.FAILURE and at_of.FAILURE > (at_of.SUCCESS or 0)

  local held = last and redis.pcall('HMGET', run_key(last), 'reason', 'finished_at') or {}
  told[4], told[5] = waiting or '', since and string.format('%.0f', since) or ''
  told[6], told[7], told[8], told[9] = ended, last or '', held[1] or '', held[2] or ''
  told[10] = failing and newest.FAILURE or ''
  answer[i] = told
end
return answer
