-- Makes a run, once: the record and its message are one step.
--
-- nothing -> PENDING. Writes NS:run:ID, the indexes, and the message in NS:queue:Q:P, or in the
-- delayed set when `eta` lies ahead. A known id, or a known key of the job, makes nothing. Neither does a known
-- slot of its schedule: NS:slot:JOB:SLOT names its run, and NS:slots has the last slot of each job, which earlier
-- ones never come after, so that a slot whose record has expired stays known too. Neither does a second submission
-- with the same values, for as long as the job says (NS:unique:JOB:DIGEST): the first run is returned. An adopted one
-- is recorded all the same, since a client waits under its id, and ends at once: REVOKED (skipped).
--
-- ARGV: id, job, message, key ('' for none), digest of the params, ms to keep the key, eta ('' for now),
--       ms until it expires ('' for never), then fields of the record as name, value, …
-- Returns {'new' | 'known' | 'conflict', id, its record as a flat list, its result in Celery's format | ''}

local id, job, message, key, digest, keep_key = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local eta, expires = tonumber(ARGV[7]), tonumber(ARGV[8])

local function answer(verdict, run_id)
  return { verdict, run_id, redis.call('HGETALL', run_key(run_id)), redis.call('GET', meta_key(run_id)) or '' }
end

local run = { id = id, job = job, state = 'PENDING', submitted_at = tostring(NOW) }
local fields = { 'job', job, 'state', 'PENDING', 'submitted_at', NOW }
for i = 9, #ARGV do fields[#fields + 1] = ARGV[i] end
for i = 1, #fields, 2 do run[fields[i]] = fields[i + 1] end

local same = run.unique and redis.call('GET', unique_key(run))
if same == id then same = nil end

if run.slot then
  local name, slots = NS .. ':slot:' .. job .. ':' .. run.slot, NS .. ':slots'
  local known, last = redis.call('GET', name), tonumber(redis.call('HGET', slots, job) or '')
  if not last or last < tonumber(run.slot) then redis.call('HSET', slots, job, run.slot) end
  if known then return answer('known', known) end
  if last and last >= tonumber(run.slot) then return answer('known', id) end
  redis.call('SET', name, same or id, 'PX', keep_key)
end

if redis.call('EXISTS', run_key(id)) == 1 then return answer('known', id) end

if key ~= '' then
  local name = NS .. ':key:' .. job .. ':' .. key
  local known = redis.call('GET', name)
  if known then
    local cut = string.find(known, ' ', 1, true)
    local verdict = string.sub(known, cut + 1) == digest and 'known' or 'conflict'
    return answer(verdict, string.sub(known, 1, cut - 1))
  end
  redis.call('SET', name, (same or id) .. ' ' .. digest, 'PX', keep_key)
end
if same and not run.adopted then return answer('known', same) end

redis.call('HSET', run_key(id), unpack(fields))
redis.call('ZADD', IDS, 0, id)
index(run, 'PENDING')

if same then
  revoke_run(run, 'skipped')
  return answer('new', id)
end
if run.unique then redis.call('SET', unique_key(run), id, 'PX', run.unique_for) end

local starts = NOW
if eta and eta > NOW then
  starts = eta
  redis.call('HSET', run_key(id), 'eta', eta)
  delay(run, eta, message)
else
  enqueue(run.queue, run.priority, message)
end
if expires then
  redis.call('HSET', run_key(id), 'expires_at', starts + expires)
  redis.call('ZADD', EXPIRING, starts + expires, id)
end
announce(run)
return answer('new', id)
