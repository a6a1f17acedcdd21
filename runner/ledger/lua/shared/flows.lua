-- Flows: the states of their step runs, and how the processes that advance flows learn of changes.
--
-- NS:flow:ID, a hash: version (number of applied decisions), news (number of recorded changes), deadline (ms, if there
-- is one), and for each step that has runs first:STEP (ordinal of its first run), items:STEP and made:STEP (the number
-- of runs that it will have, and that it has), started:STEP and ended:STEP (ms), reason:STEP (of its last run that did
-- not succeed; FAILURE takes precedence over REVOKED), stopped:STEP (how its open runs were stopped), and fresh:STEP (1
-- if one of its runs does not reuse the result of another).
-- NS:flow-runs:ID has the ids of the step runs by ordinal, and NS:flow-states:ID:STATE a bit for each ordinal. NS:flows
-- has the active flows, by the time at which the beat wakes them even if they were silent.
--
-- Other programs may have written to these keys: a step run still starts and ends.
--
-- Uses: clock, keys.

local MOST_STEP_RUNS = 10000000
local STEP_STATES = { 'PENDING', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED', 'SKIPPED', 'UPSTREAM' }
local LOOK_AGAIN = 60000        -- ms

-- Returns the outbox entry that advances a flow.
local function advance_entry(id) return id .. ' advance 1' end

-- Asks for a flow to be advanced, by the first worker that takes the entry.
local function wake_flow(id)
  if redis.call('EXISTS', flow_key(id)) == 0 then return end
  redis.pcall('HINCRBY', flow_key(id), 'news', 1)
  redis.call('ZADD', OUTBOX, AT, advance_entry(id))
end

-- Removes an ended flow from the lists.
local function leave_flows(run)
  redis.call('ZREM', FLOWS, run.id)
  redis.call('ZREM', OUTBOX, advance_entry(run.id))
end

-- Returns a number from the hash of a flow; nil if it is not a number or has too many digits.
local function whole(text)
  local number = type(text) == 'string' and #text < 16 and string.find(text, '^%d+$') and tonumber(text)
  return number or nil
end

-- Returns the state under which the bits count a run with this state and reason.
local function step_state(state, reason)
  if state ~= 'REVOKED' then return state end
  return reason == 'skipped' and 'SKIPPED' or reason == 'upstream_failed' and 'UPSTREAM' or state
end

local function set_bit(flow, state, ordinal, bit)
  redis.pcall('SETBIT', flow_states_key(flow, state), ordinal, bit)
end

-- Records that a step run changes its state.
local function move_step(run, state, reason)
  local ordinal = whole(run.ordinal)
  if ordinal and ordinal < MOST_STEP_RUNS then
    set_bit(run.flow, run.state, ordinal, 0)
    set_bit(run.flow, step_state(state, reason), ordinal, 1)
  end
  if state == 'STARTED' then redis.pcall('HSETNX', flow_key(run.flow), 'started:' .. (run.step or ''), AT) end
  redis.call('PUBLISH', changed_key(run.flow), 'STARTED')
end

-- Returns the number of runs of a step in a state, from one ordinal to another.
local function count_bits(flow, state, first, last)
  local number = redis.pcall('BITCOUNT', flow_states_key(flow, state), first, last, 'BIT')
  return type(number) == 'number' and number or 0
end

-- Returns whether all runs of a step were created and have ended.
local function is_over(flow, step)
  local held = redis.pcall('HMGET', flow_key(flow), 'first:' .. step, 'items:' .. step, 'made:' .. step)
  local first, items, made = whole(held[1]), whole(held[2]), whole(held[3])
  -- The process that advances the flow detects the damage.
  if not (first and items and made) then return true end
  if made < items then return false end
  local last, open = first + made - 1, 0
  for _, state in ipairs({ 'PENDING', 'STARTED', 'RETRY' }) do open = open + count_bits(flow, state, first, last) end
  return open == 0
end

-- Records that a step run has ended. Returns whether its flow must be advanced now: its step is over, or the run did
-- not succeed, which affects other steps.
local function end_step(run, state, reason)
  local key, step = flow_key(run.flow), run.step or ''
  local over = not run.item or is_over(run.flow, step)
  if over then redis.pcall('HSET', key, 'ended:' .. step, AT) end
  if state ~= 'SUCCESS' and reason then
    redis.pcall(state == 'FAILURE' and 'HSET' or 'HSETNX', key, 'reason:' .. step, reason)
  end
  if not over and state == 'SUCCESS' then return false end
  wake_flow(run.flow)
  return true
end
