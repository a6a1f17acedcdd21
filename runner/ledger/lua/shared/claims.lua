-- The claims that workers hold on messages, and their leases.
--
-- Uses: clock, keys.
-- Seldom: flows (wake_flow).

-- A claim is a line of JSON (id, queue, priority, worker), followed by the message as it was in its queue.
local function load_claim(token)
  local held = redis.call('HGET', CLAIMS, token)
  if not held then return nil end
  local cut = string.find(held, '\n', 1, true)
  local claim = cjson.decode(string.sub(held, 1, cut - 1))
  claim.message = string.sub(held, cut + 1)
  return claim
end

local function release(token)
  redis.call('HDEL', CLAIMS, token)
  redis.call('ZREM', LEASES, token)
end

local function lease_live(token)
  local ends = token and redis.call('ZSCORE', LEASES, token)
  return ends and tonumber(ends) > NOW
end

-- Asks the worker of a run to end it with the given signal; workers check twice a second. For a flow, wakes the process
-- that advances it, which ends the flow.
local function end_attempt(run, signal)
  if run.graph then return wake_flow(run.id) end
  redis.call('HSET', TERMINATING, run.id, signal)
end
