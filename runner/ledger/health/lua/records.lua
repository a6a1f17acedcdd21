#!lua flags=allow-oom
-- Looks through a portion of records for what the indexes lack of them; with '1', adds it.
--
-- Keys: NS:run:ID and every index. No run changes its state. A record without job, state or time of submission
-- says nothing of a run (something wrote into a record that was gone); it is removed.
--
-- ARGV: '1' to mend, ids
-- Returns for each id {id, state, queue, priority, place, fault, …}. Place: 'delayed' (its message waits in its record),
-- 'held' (STARTED, and its claim exists), 'queue' (a queue or a claim must have it), '' (final). Faults:
-- damaged, ids, state, job, expiring, prunable, terminating, message. An id without a record is left out.
--
-- Uses: clock, keys, records, waiting, transitions.

local mend = ARGV[1] == '1'
local answer = {}

local function look(run, key)
  local faults = {}
  local function lacks(name, index, member, score)
    if redis.call('ZSCORE', index, member) then return end
    faults[#faults + 1] = name
    if mend then redis.call('ZADD', index, score, member) end
  end
  lacks('ids', IDS, run.id, 0)
  lacks('state', state_key(run.state), run.id, run.submitted_at)
  lacks('job', job_key(run.job, run.state), run.id, run.submitted_at)
  local place = ''
  if FINAL[run.state] then
    local ended = tonumber(run.finished_at or NOW)
    lacks('prunable', PRUNABLE, run.id, ended + tonumber(run.keep_history or '0'))
    if run.message then
      faults[#faults + 1] = 'message'
      if mend then redis.call('HDEL', key, 'message') end
    end
  elseif run.state == 'STARTED' then
    place = run.token and redis.call('HEXISTS', CLAIMS, run.token) == 1 and 'held' or 'queue'
    if run.terminate and redis.call('HEXISTS', TERMINATING, run.id) == 0 then
      faults[#faults + 1] = 'terminating'
      if mend then redis.call('HSET', TERMINATING, run.id, run.terminate) end
    end
  else
    if run.expires_at then lacks('expiring', EXPIRING, run.id, run.expires_at) end
    place = is_aside(run) and 'delayed' or 'queue'
  end
  return place, faults
end

for i = 2, #ARGV do
  local key = run_key(ARGV[i])
  local run = load_run(ARGV[i])
  if run and ORIGINS[run.state or ''] == nil and run.state ~= 'PENDING' or run and not (run.job and run.submitted_at
    and run.queue and run.priority) then
    answer[#answer + 1] = { run.id, '', '', '', '', 'damaged' }
    if mend then redis.call('DEL', key) end
  elseif run then
    local place, faults = look(run, key)
    answer[#answer + 1] = { run.id, run.state, run.queue, run.priority, place, unpack(faults) }
  end
end
return answer
