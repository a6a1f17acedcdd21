#!lua
-- Creates runs of one step of a flow, unless the flow was advanced since it was read.
--
-- nothing -> PENDING for each, and on to REVOKED (skipped, upstream_failed, cancelled), FAILURE (invalid_params,
-- unknown_job), or STARTED and SUCCESS (a result is reused). Their ids are derived from flow, step, and item. One step
-- writes their records, index entries, bits, and messages together with the flow's version, so each run is created
-- once.
--
-- Keys: NS:run:ID, NS:flow:ID, NS:flow-runs:ID, NS:flow-states:ID:STATE (see shared/flows.lua), and the keys in
-- shared/making.lua.
--
-- ARGV: flow, its version at the time of reading, step, 'admit' | 'skip', number of runs that the step will have, '1'
--       if it has items, job, ms until they expire ('' for never), number of the following arguments that are common
--       fields of the records (name, value, …), number of those after them that are field names of each run, those two
--       lists; then for each run: id, 'run' | 'revoke' | 'pass' | 'refuse' | 'reuse', a detail, message, the values of
--       its fields. 'pass' revokes too, and nothing starts again because of it. Detail: the reason; for 'reuse', the
--       run with the result. Message: '' if the run waits for an approval; for 'refuse', the result in Celery's format
-- Returns {'done', and the answer of read_flow.lua without the record}, {'stale'}, {'over'}: the flow has ended,
-- {'paused'}, or {'stopping'}: the flow is about to end and admits no more runs
--
-- Uses: clock, keys, records, transitions, queues, making, endings, pauses, revoking, flows, stages.

local id, version, step, items = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local flow, key, list = load_run(id), flow_key(id), flow_runs_key(id)
if not is_under_way(flow) then return { 'over' } end
local held = redis.pcall('HMGET', key, 'version', 'first:' .. step, 'made:' .. step, 'items:' .. step)
if held.err or held[1] ~= version then return { 'stale' } end
if ARGV[4] == 'admit' and pause_of(flow) then return { 'paused' } end
if ARGV[4] == 'admit' and why_stopping(flow) ~= '' then return { 'stopping' } end

local commons, own = tonumber(ARGV[9]), tonumber(ARGV[10])
local common = { job = ARGV[7], state = 'PENDING', submitted_at = tostring(NOW) }
local fields = { 'job', ARGV[7], 'state', 'PENDING', 'submitted_at', NOW, 'ordinal', 0 }
if ARGV[6] == '1' then fields[9], fields[10] = 'item', 0 end
for i = 11, 10 + commons, 2 do
  common[ARGV[i]] = ARGV[i + 1]
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i + 1]
end
local names, firsts, runs_at = {}, #fields, 11 + commons + own
for i = 1, own do
  names[i] = ARGV[10 + commons + i]
  fields[firsts + 2 * i - 1] = names[i]
end
local number = (#ARGV + 1 - runs_at) / (4 + own)

local first, made = whole(held[2]), whole(held[3]) or 0
-- The step may end up with fewer runs than announced, but never with more.
if first and (whole(held[4]) or 0) < items or made + number > items then return { 'stale' } end
if not first then
  first = redis.call('LLEN', list)
  if first + items > MOST_STEP_RUNS then return { 'stale' } end
  -- Reserve the ordinals of the step, because other runs may be created before its last one.
  local empty = {}
  for i = 1, math.min(items, 1000) do empty[i] = '' end
  for at = 0, items - 1, 1000 do redis.call('RPUSH', list, unpack(empty, 1, math.min(1000, items - at))) end
end
redis.call('HINCRBY', key, 'version', 1)
redis.call('HSET', key, 'first:' .. step, first, 'items:' .. step, items, 'made:' .. step, made + number)
if items == 0 then redis.call('HSET', key, 'started:' .. step, AT, 'ended:' .. step, AT) end

local fresh = false
-- If none of the runs may have to wait, their messages go into the queue together.
local together, messages = not (common.policy or common.rate or common.requires or common.at_once or pause_of(common)), {}
local asked, inherits = { key = '', digest = '', expires = tonumber(ARGV[8]) }, { __index = common }

-- Reuses the result of another run; returns whether that was possible.
local function reuse(run, from)
  if redis.pcall('HGET', run_key(from), 'state') ~= 'SUCCESS' then return false end
  if redis.pcall('COPY', meta_key(from), meta_key(run.id)) ~= 1 then return false end
  enter(run, 'STARTED')
  -- No work was done, so this fires no hook, is not a new success of its job, and does not end its failures in a row.
  run.reused = true
  finish(run, 'SUCCESS')
  return true
end

local function begin(run, how, detail, message)
  if how == 'reuse' and reuse(run, detail) then return end
  fresh = fresh or how ~= 'pass'
  if how == 'revoke' or how == 'pass' then
    revoke_run(run, detail)
  elseif how == 'refuse' then
    finish(run, 'FAILURE', detail, message)
  else
    if how == 'reuse' then redis.call('HDEL', run_key(run.id), 'reused_from') end
    if message ~= '' and together then
      messages[#messages + 1] = message
    elseif message ~= '' then
      place(run, message)
    else
      redis.call('HSET', run_key(run.id), 'detail', 'waits for approval')
    end
  end
end

-- A run that already exists keeps its state. It was not created by this flow unless it belongs to this step.
local function find_again(run)
  local other = load_run(run.id)
  local ours = other and other.flow == id and other.step == step
  set_bit(id, 'PENDING', run.ordinal, 0)
  set_bit(id, ours and step_state(other.state, other.reason) or 'FAILURE', run.ordinal, 1)
  if not ours then redis.call('HSET', key, 'reason:' .. step, 'invalid_params') end
  wake_flow(id)
end

-- Set the bits before the first run can end.
for i = 0, number - 1 do
  redis.call('SETBIT', flow_states_key(id, 'PENDING'), first + made + i, 1)
  redis.call('LSET', list, first + made + i, ARGV[runs_at + i * (4 + own)])
end
local last
for i = 0, number - 1 do
  local at = runs_at + i * (4 + own)
  local run = setmetatable({ id = ARGV[at], ordinal = tostring(first + made + i) }, inherits)
  fields[8] = run.ordinal
  if ARGV[6] == '1' then
    run.item = tostring(made + i)
    fields[10] = run.item
  end
  for j = 1, own do
    local value = ARGV[at + 3 + j]
    run[names[j]] = value
    fields[firsts + 2 * j] = value
  end
  if record(run, fields, asked) == 'new' then
    last = run
    begin(run, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
  else
    find_again(run)
  end
end
if messages[1] then enqueue(common.queue, common.priority, messages[1], false, unpack(messages, 2)) end
if last then note_submission(last, number) end
if fresh then redis.call('HSET', key, 'fresh:' .. step, 1) end
local now, steps = read_steps(id)
return { 'done', now, steps, why_stopping(flow), pause_of(flow) and '1' or '' }
