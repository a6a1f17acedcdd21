-- How a message is claimed: peek, check, record the claim, pop. A kill at any point loses nothing. Unreadable messages
-- go to NS:dead-letters. No run changes its state.
--
-- Uses: clock, keys, claims.
-- Seldom: letters (bury).

local MOST_BURIED = 500         -- in one call, to keep it short
local buried = 0

-- Claims the message at the end of one list. Returns the existing claim if the token has one: the answer to an earlier
-- call with this token was lost.
local function claim_of(key, queue, priority, token, lease, worker)
  while true do
    local message = redis.call('LINDEX', key, '-1')
    if not message or buried == MOST_BURIED then return nil end
    local sound, envelope = pcall(cjson.decode, message)
    local headers = sound and type(envelope) == 'table' and envelope.headers
    local properties = sound and type(envelope) == 'table' and envelope.properties
    local ours = type(headers) == 'table' and headers.runner and type(headers.id) == 'string'
    if ours or type(headers) == 'table' and type(properties) == 'table' and type(properties.delivery_info) == 'table'
      and type(envelope.body) == 'string' then
      local claim = { queue = queue, priority = tonumber(priority), worker = worker, ours = headers.runner and true or false,
        id = type(headers.id) == 'string' and headers.id or nil }
      if redis.call('HSETNX', CLAIMS, token, cjson.encode(claim) .. '\n' .. message) == 0 then return load_claim(token) end
      redis.call('ZADD', LEASES, NOW + lease, token)
      redis.call('RPOP', key)
      claim.message, claim.headers = message, headers
      return claim
    end
    bury(cjson.encode({ at = NOW, queue = queue }) .. '\n' .. message)
    redis.call('RPOP', key)
    buried = buried + 1
  end
end

-- Claims the next message: highest priority first, then in the order of the given queues (the caller rotates them).
local function claim_next(token, lease, worker, queues)
  for _, priority in ipairs({ '9', '8', '7', '6', '5', '4', '3', '2', '1', '0' }) do
    for _, queue in ipairs(queues) do
      local claim = claim_of(queue_key(queue, priority), queue, priority, token, lease, worker)
      if claim then return claim end
    end
  end
end
