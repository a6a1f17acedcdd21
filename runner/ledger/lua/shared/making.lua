-- How runs are created, each only once.
--
-- No run is created if its id is known, or if a marker says that it was already created: a key of the job
-- (NS:key:JOB:KEY); a slot of its schedule (NS:slot:JOB:SLOT); the same values within the job's time limit
-- (NS:unique:JOB:DIGEST). NS:slots has the last slot of each job. Earlier slots never follow it, so a slot stays known
-- after its record has expired; a backfill may still run earlier slots, and does not change that mark. An adopted run
-- with the same values is recorded nevertheless, because a client waits for its id, and ends at once: REVOKED
-- (skipped). So does a run that is refused: FAILURE (invalid_params), whatever the other rules say.
-- No run of a paused job is created either, unless it is forced or there is no caller to tell. A step run has the slot
-- of its flow, which is not a marker.
--
-- Uses: clock, keys, records, events, counts, acts, waiting, endings, arrivals, pauses, revoking.

-- Returns the Unix ms before which a run does not start: for the text MS, or for +MS from now; nil for ''.
local function read_start(text)
  local ms = tonumber(text)
  return ms and string.sub(text, 1, 1) == '+' and NOW + ms or ms
end

-- Writes the record of a run and its index entries.
--
-- run: the fields of its record as a table; fields: the same as a flat list; asked: key ('' for none), digest of the
-- params, keep_key (ms), eta, expires (ms after eta, or from now without one), refusal (its result in Celery's format).
-- Returns `new` or `ended` (created, and final at once), `known` or `conflict` (its key was used with other params),
-- each with the id of the existing run; or `paused` and who paused the job.
local function record(run, fields, asked)
  local id, job = run.id, run.job
  local by_key = asked.key ~= '' and submission_key(job, asked.key)
  local by_slot = run.slot and not run.flow and slot_key(job, run.slot)
  local by_values = run.unique and unique_key(job, run.unique)
  if run.backfill then
    if redis.call('HGET', backfill_key(run.backfill), 'revoked') == '1' then return 'known', id end
    local known = by_slot and not run.again and redis.call('GET', by_slot)
    if known then return 'known', known end
  elseif by_slot then
    local known, last = redis.call('GET', by_slot), tonumber(redis.call('HGET', SLOTS, job) or '')
    if not last or last < tonumber(run.slot) then redis.call('HSET', SLOTS, job, run.slot) end
    if known then return 'known', known end
    if last and last >= tonumber(run.slot) then return 'known', id end
  end
  if redis.call('EXISTS', run_key(id)) == 1 then return 'known', id end
  local known = by_key and redis.call('GET', by_key)
  if known then
    local cut = string.find(known, ' ', 1, true)
    local verdict = string.sub(known, cut + 1) == asked.digest and 'known' or 'conflict'
    return verdict, string.sub(known, 1, cut - 1)
  end
  local same = not asked.refusal and by_values and redis.call('GET', by_values)
  local nobody_to_tell = run.trigger == 'schedule' or run.trigger == 'hook' or run.trigger == 'celery'
    or run.trigger == 'flow'
  local pause = not same and not nobody_to_tell and pause_of(run)
  if pause then return 'paused', cjson.encode(pause) end
  if by_slot and not (run.again and redis.call('EXISTS', by_slot) == 1) then
    redis.call('SET', by_slot, same or id, 'PX', asked.keep_key)
  end
  if by_key then redis.call('SET', by_key, (same or id) .. ' ' .. asked.digest, 'PX', asked.keep_key) end
  if same and not run.adopted then return 'known', same end

  redis.call('HSET', run_key(id), unpack(fields))
  redis.call('ZADD', IDS, 0, id)
  index(run, 'PENDING')
  if run.backfill then redis.call('HINCRBY', backfill_key(run.backfill), 'made', 1) end
  if asked.refusal then
    finish(run, 'FAILURE', 'invalid_params', asked.refusal)
    return 'ended', id
  end
  if same then
    revoke_run(run, 'skipped')
    return 'ended', id
  end
  if by_values then redis.call('SET', by_values, id, 'PX', run.unique_for) end
  if run.group then redis.call('HSET', LIMITS, run.group, run.limit) end
  local delayed = asked.eta and asked.eta > NOW
  if delayed then redis.call('HSET', run_key(id), 'eta', asked.eta) end
  if asked.expires then
    run.expires_at = (delayed and asked.eta or NOW) + asked.expires
    redis.call('HSET', run_key(id), 'expires_at', run.expires_at)
    redis.call('ZADD', EXPIRING, run.expires_at, id)
  end
  announce(run)
  return 'new', id
end

-- Puts the message of a new run into its queue, into the delayed set if `eta` is in the future, or aside if no
-- concurrency slot is free. The run may end here: REVOKED (skipped). It may also end other runs: REVOKED (replaced).
local function place(run, message, eta)
  if eta and eta > NOW then
    delay(run, eta, message)
  else
    arrive(run, message)
  end
end

-- Counts runs that were created together, and adds an audit entry if a person created them. run: the first one; number:
-- how many.
local function note_submission(run, number)
  count('submissions', run.job, run.trigger, number)
  local act = ({ cli = 'submit', api = 'submit', web = 'submit', rerun = 'rerun', webhook = 'submit' })[run.trigger]
  if not act then return end
  local words = {}
  if number > 1 then words[1] = 'the first of ' .. number .. ' runs' end
  if run.rerun_of then words[#words + 1] = 'of run ' .. run.rerun_of end
  if run.forced then words[#words + 1] = 'although the job is paused' end
  audit(act, run.submitted_by, run.job, run.id, table.concat(words, ', '))
end
