#!lua flags=allow-oom
-- Stops the open runs of one step of a flow, some in each call. Waiting runs are revoked. Active runs get no retry or
-- redelivery, and are terminated on request.
--
-- PENDING | RETRY -> REVOKED (cancelled). STARTED stays, as in revoke.lua; a subflow stops in the same way.
--
-- Keys: NS:flow:ID, NS:flow-runs:ID, NS:flow-states:ID:STATE (see shared/flows.lua), and NS:run:ID of each.
--
-- ARGV: flow, step, '1' to terminate active runs, number of its runs already checked, maximum number to stop, comment
-- Returns the new number of checked runs, or '' if all of them were checked
--
-- Uses: clock, keys, records, events, claims, revoking, flows, stages.

local MOST_LOOKED_AT = 2000
local id, step, terminate, from, most, comment = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local flow, key, list = load_run(id), flow_key(id), flow_runs_key(id)
if not is_under_way(flow) then return '' end
local held = redis.pcall('HMGET', key, 'first:' .. step, 'made:' .. step)
local first, made = whole(held[1]), whole(held[2])
if not (first and made) then return '' end

-- Returns the bits of one state from an ordinal on, as a function of an ordinal.
local function bits_from(state, ordinal, number)
  local at = math.floor(ordinal / 8)
  local bytes = redis.pcall('GETRANGE', flow_states_key(id, state), at, math.floor((ordinal + number) / 8))
  return function(which)
    local byte = type(bytes) == 'string' and string.byte(bytes, math.floor(which / 8) - at + 1) or 0
    return bit.band(byte, 2 ^ (7 - which % 8)) ~= 0
  end
end

local revocation = cjson.encode({ by = cjson.null, comment = comment, at = NOW })

local function stop(run)
  local fields = redis.call('HSETNX', run_key(run.id), 'revocation', revocation)
  run.revocation = run.revocation or revocation
  if run.state ~= 'STARTED' then return revoke_run(run, 'cancelled') end
  if terminate and not run.terminate then
    redis.call('HSET', run_key(run.id), 'terminate', 'TERM', 'detail', 'terminating')
    end_attempt(run, 'TERM')
    announce(run)
  elseif not terminate and fields == 1 then
    if run.graph then wake_flow(run.id) end
    redis.call('HSET', run_key(run.id), 'detail', 'revoked: no retry or redelivery will follow this attempt')
    announce(run)
  end
end

local number = math.min(MOST_LOOKED_AT, made - from)
local open = {}
for i, state in ipairs({ 'PENDING', 'RETRY', 'STARTED' }) do open[i] = bits_from(state, first + from, number) end
local stopped, looked = 0, from
while looked < from + number and stopped < most do
  local ordinal = first + looked
  if open[1](ordinal) or open[2](ordinal) or open[3](ordinal) then
    stopped = stopped + 1
    local held = redis.pcall('LINDEX', list, ordinal)
    local run = type(held) == 'string' and load_run(held)
    if run and run.flow == id and not FINAL[run.state] then
      stop(run)
    else
      -- Another program wrote there. A bit without a run must not keep the flow from ending.
      local state = run and run.flow == id and step_state(run.state, run.reason) or 'FAILURE'
      for _, each in ipairs({ 'PENDING', 'RETRY', 'STARTED' }) do set_bit(id, each, ordinal, 0) end
      set_bit(id, state, ordinal, 1)
      wake_flow(id)
    end
  end
  looked = looked + 1
end
if looked < made then return looked end
redis.pcall('HSET', key, 'stopped:' .. step, terminate and 'terminated' or 'cancelled')
return ''
