-- Flows: in which states their step runs are, and how those who advance flows hear of it.
--
-- NS:flow:ID, a hash: version (how many decisions were applied), news (how many changes were noted), deadline (ms, if
-- there is one), and of each step of which runs were made first:STEP (ordinal of its first one), items:STEP and made:STEP
-- (how many it is to have, and has), started:STEP and ended:STEP (ms), reason:STEP (of its last run that did not
-- succeed; one of FAILURE goes before one of REVOKED), stopped:STEP (how its open runs were stopped), and fresh:STEP (1 if a run of it
-- does not take the result of another).
-- NS:flow-runs:ID has the ids of the step runs by ordinal, and NS:flow-states:ID:STATE a bit for each ordinal. NS:flows
-- has the flows under way, by the time at which the beat has them advanced though nothing was heard of them.
--
-- Others may have written into these keys: a step run starts and ends all the same.
--
-- Uses: clock, keys.

local MOST_STEP_RUNS = 10000000
local STEP_STATES = { 'PENDING', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED', 'SKIPPED', 'UPSTREAM' }
local LOOK_AGAIN = 60000        -- ms

-- The entry of the outbox for a flow.
local function advance_entry(id) return id .. ' advance 1' end

-- Has a flow advanced, by whoever comes first.
local function wake_flow(id)
  if redis.call('EXISTS', flow_key(id)) == 0 then return end
  redis.pcall('HINCRBY', flow_key(id), 'news', 1)
  redis.call('ZADD', OUTBOX, AT, advance_entry(id))
end

-- Takes a flow that has ended off the lists.
local function leave_flows(run)
  redis.call('ZREM', FLOWS, run.id)
  redis.call('ZREM', OUTBOX, advance_entry(run.id))
end

-- A number that stands in the hash of a flow; nil if that is none, or larger than can be.
local function whole(text)
  local number = type(text) == 'string' and #text < 16 and string.find(text, '^%d+$') and tonumber(text)
  return number or nil
end

-- What the bits say of a run that is in a state, and why it ended.
local function step_state(state, reason)
  if state ~= 'REVOKED' then return state end
  return reason == 'skipped' and 'SKIPPED' or reason == 'upstream_failed' and 'UPSTREAM' or state
end

local function set_bit(flow, state, ordinal, bit)
  redis.pcall('SETBIT', flow_states_key(flow, state), ordinal, bit)
end

-- Notes that a step run goes to another state.
local function move_step(run, state, reason)
  local ordinal = whole(run.ordinal)
  if ordinal and ordinal < MOST_STEP_RUNS then
    set_bit(run.flow, run.state, ordinal, 0)
    set_bit(run.flow, step_state(state, reason), ordinal, 1)
  end
  if state == 'STARTED' then redis.pcall('HSETNX', flow_key(run.flow), 'started:' .. (run.step or ''), AT) end
  redis.call('PUBLISH', changed_key(run.flow), 'STARTED')
end

-- How many runs of a step, from one ordinal to another, are in a state.
local function count_bits(flow, state, first, last)
  local number = redis.pcall('BITCOUNT', flow_states_key(flow, state), first, last, 'BIT')
  return type(number) == 'number' and number or 0
end

-- Whether all runs of a step have been made, and have ended.
local function is_over(flow, step)
  local held = redis.pcall('HMGET', flow_key(flow), 'first:' .. step, 'items:' .. step, 'made:' .. step)
  local first, items, made = whole(held[1]), whole(held[2]), whole(held[3])
  -- What is damaged is for the advance to find.
  if not (first and items and made) then return true end
  if made < items then return false end
  local last, open = first + made - 1, 0
  for _, state in ipairs({ 'PENDING', 'STARTED', 'RETRY' }) do open = open + count_bits(flow, state, first, last) end
  return open == 0
end

-- Notes that a step run has ended. Returns whether its flow is to be advanced now: its step is over, or other steps hear of
-- a run that did not succeed.
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
