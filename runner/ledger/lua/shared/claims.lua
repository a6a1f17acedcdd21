-- The claims that workers hold on messages, and their leases.
--
-- Uses: clock, keys.
-- Seldom: flows (wake_flow).

-- A claim is a line of JSON (id, queue, priority, worker) and the message as it stood in its queue.
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

-- Has the worker that performs a run end it, by a signal of that name; it looks twice a second. A flow is ended by
-- whoever advances it.
local function end_attempt(run, signal)
  if run.graph then return wake_flow(run.id) end
  redis.call('HSET', TERMINATING, run.id, signal)
end
