#!lua
-- Makes a run, once: the record and its message are one step.
--
-- nothing -> PENDING. Writes NS:run:ID, the indexes, and the message: in NS:queue:Q:P, in the delayed set when `eta`
-- lies ahead, or set aside where no slot of concurrency is free. Such a run may end here: REVOKED (skipped); or make
-- others end: REVOKED (replaced).
--
-- Nothing is made of a known id, and of what stands for a run that was made: a key of the job (NS:key:JOB:KEY); a slot
-- of its schedule (NS:slot:JOB:SLOT; NS:slots has the last slot of each job, which earlier ones never come after, so
-- that a slot whose record has expired stays known too); the same values within the time that the job says
-- (NS:unique:JOB:DIGEST). Of the last, an adopted one is recorded all the same, since a client waits under its id, and
-- ends at once: REVOKED (skipped). So is one that is refused: FAILURE (invalid_params), whatever else is asked for.
-- Nor is a run of a paused job made, unless it was forced or nobody can be told.
--
-- ARGV: id, job, message, key ('' for none), digest of the params, ms to keep the key, eta ('' for now, +MS
--       from now), ms until it expires ('' for never), its result in Celery's format if it is refused ('' if not), then
--       fields of the record as name, value, …
-- Returns {'new' | 'known' | 'conflict', id, its record as a flat list, its result in Celery's format | ''}, or
-- {'paused', who paused it as JSON}
--
-- Uses: clock, keys, records, events, counts, acts, waiting, endings, arrivals.

local id, job, message, key, digest, keep_key = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local eta, expires, refusal = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] ~= '' and ARGV[9]
if string.sub(ARGV[7], 1, 1) == '+' then eta = NOW + eta end
local BY_PEOPLE = { cli = 'submit', api = 'submit', web = 'submit', rerun = 'rerun' }
local NOBODY_TO_TELL = { schedule = true, hook = true, celery = true }

local function answer(verdict, run_id)
  return { verdict, run_id, redis.call('HGETALL', run_key(run_id)), redis.call('GET', meta_key(run_id)) or '' }
end

local run = { id = id, job = job, state = 'PENDING', submitted_at = tostring(NOW) }
local fields = { 'job', job, 'state', 'PENDING', 'submitted_at', NOW }
for i = 10, #ARGV do fields[#fields + 1] = ARGV[i] end
for i = 1, #fields, 2 do run[fields[i]] = fields[i + 1] end

-- Is it made already?

local slot_key = run.slot and NS .. ':slot:' .. job .. ':' .. run.slot
if run.slot then
  local slots = NS .. ':slots'
  local known, last = redis.call('GET', slot_key), tonumber(redis.call('HGET', slots, job) or '')
  if not last or last < tonumber(run.slot) then redis.call('HSET', slots, job, run.slot) end
  if known then return answer('known', known) end
  if last and last >= tonumber(run.slot) then return answer('known', id) end
end

if redis.call('EXISTS', run_key(id)) == 1 then return answer('known', id) end

local key_key = key ~= '' and NS .. ':key:' .. job .. ':' .. key
local known = key_key and redis.call('GET', key_key)
if known then
  local cut = string.find(known, ' ', 1, true)
  local verdict = string.sub(known, cut + 1) == digest and 'known' or 'conflict'
  return answer(verdict, string.sub(known, 1, cut - 1))
end

local same = not refusal and run.unique and redis.call('GET', unique_key(run))
local pause = not same and not NOBODY_TO_TELL[run.trigger] and pause_of(run)
if pause then return { 'paused', cjson.encode(pause) } end

if slot_key then redis.call('SET', slot_key, same or id, 'PX', keep_key) end
if key_key then redis.call('SET', key_key, (same or id) .. ' ' .. digest, 'PX', keep_key) end
if same and not run.adopted then return answer('known', same) end

-- Make it.

redis.call('HSET', run_key(id), unpack(fields))
redis.call('ZADD', IDS, 0, id)
index(run, 'PENDING')
count('submissions', job, run.trigger)
if refusal then
  finish(run, 'FAILURE', 'invalid_params', refusal)
  return answer('new', id)
end
if same then
  revoke_run(run, 'skipped')
  return answer('new', id)
end
if run.unique then redis.call('SET', unique_key(run), id, 'PX', run.unique_for) end
if run.group then redis.call('HSET', LIMITS, run.group, run.limit) end

local delayed = eta and eta > NOW
if delayed then redis.call('HSET', run_key(id), 'eta', eta) end
if expires then
  run.expires_at = (delayed and eta or NOW) + expires
  redis.call('HSET', run_key(id), 'expires_at', run.expires_at)
  redis.call('ZADD', EXPIRING, run.expires_at, id)
end
announce(run)
if BY_PEOPLE[run.trigger] then
  local words = run.rerun_of and 'of run ' .. run.rerun_of or run.forced and 'although the job is paused'
  audit(BY_PEOPLE[run.trigger], run.submitted_by, job, id, words)
end
if delayed then
  delay(run, eta, message)
else
  arrive(run, message)
end
return answer('new', id)
