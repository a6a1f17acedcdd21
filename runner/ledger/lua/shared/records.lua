-- The records of runs, and the indexes of their states.
--
-- Uses: keys.

-- The default retention in ms, which records omit.
local KEEP_RESULT, KEEP_HISTORY = '86400000', '2592000000'

local FINAL = { SUCCESS = true, FAILURE = true, REVOKED = true }

-- Removes the damaged numbers of a record, and adds the fields that an active run needs.
local function mend(run)
  run.mended = true
  -- The maximum of a time (ms) and of a count; runner/ledger/record.py has the same bounds.
  local TIME, COUNT = 250000000000000, 9007199254740991
  local NUMBERS = { submitted_at = TIME, eta = TIME, expires_at = TIME, started_at = TIME, finished_at = TIME,
    retry_at = TIME, slot = TIME, refused_since = TIME, attempts = COUNT, retries = COUNT, losses = COUNT,
    deaths_in_row = COUNT, max_deliveries = COUNT, limit = COUNT, keep_result = COUNT, keep_history = COUNT,
    keep_runs = COUNT, keep_least = COUNT, unique_for = COUNT, overrun = COUNT, overran_at = TIME,
    count_failures = COUNT, failures_in_row = COUNT, item = COUNT, ordinal = COUNT, timeout = TIME, begun = TIME, priority = 9 }
  for name, most in pairs(NUMBERS) do
    local text = run[name]
    if text and not (string.find(text, '^%d+$') and tonumber(text) <= most) then run[name] = nil end
  end
  run.submitted_at = run.submitted_at or '0'
  if FINAL[run.state] then return end
  run.queue, run.priority = run.queue or 'default', run.priority or '5'
end

-- Returns the fields of a run as a table; nil if there is no such run. flat: its record, if it was already read.
--
-- Other programs may have written to a record. A damaged number counts as absent, so that no script fails because of
-- it. A record without a job or a state is not a run. Absent fields have the defaults in runner/ledger/record.py: the
-- most common value of a field is not written.
local function load_run(id, flat)
  flat = flat or redis.pcall('HGETALL', run_key(id))
  if flat.err or #flat == 0 then return nil end
  local run = {}
  for i = 1, #flat, 2 do run[flat[i]] = flat[i + 1] end
  run.id = id
  local state = run.state
  if not run.job or not (FINAL[state] or state == 'PENDING' or state == 'STARTED' or state == 'RETRY') then return nil end
  -- Every script calls this for every run, so one match checks the numbers that would make a script fail. The other
  -- numbers get a default where they are used.
  local attempts, slot, kept = run.attempts or '0', run.slot or '0', run.keep_result or '0'
  local numbers = (run.submitted_at or '') .. ' ' .. (run.priority or '') .. ' ' .. (run.keep_history or '0') .. ' ' .. kept
    .. ' ' .. attempts .. ' ' .. slot .. ' ' .. (run.started_at or '0') .. ' ' .. (run.eta or '0') .. ' '
    .. (run.expires_at or '0') .. ' ' .. (run.retries or '0') .. ' ' .. (run.deaths_in_row or '0')
  if not (run.queue and #attempts < 16 and #slot < 15 and #kept < 16 and #numbers < 250
    and string.find(numbers, '^%d+ %d %d+ %d+ %d+ %d+ %d+ %d+ %d+ %d+ %d+$')) then
    mend(run)
  end
  return run
end

-- Deletes the given fields of a record. Most runs have few of them, and deleting an absent field costs as much as an
-- existing one.
local function drop_fields(run, names)
  local had = {}
  for _, name in ipairs(names) do
    if run[name] or run.mended then had[#had + 1] = name end
  end
  if had[1] then redis.call('HDEL', run_key(run.id), unpack(had)) end
end

-- Step runs have indexes of their own, so that they are not listed or pruned with the other runs. A job FLOW/STEP has
-- no other indexes.
local function state_index(run, state) return run.flow and step_state_key(state) or state_key(state) end

local function job_index(run, state)
  return (run.flow and not string.find(run.job, '/', 1, true) and step_job_key or job_key)(run.job, state)
end

local function index(run, state)
  redis.call('ZADD', state_index(run, state), run.submitted_at, run.id)
  redis.call('ZADD', job_index(run, state), run.submitted_at, run.id)
end

local function unindex(run)
  redis.call('ZREM', state_index(run, run.state), run.id)
  redis.call('ZREM', job_index(run, run.state), run.id)
end
