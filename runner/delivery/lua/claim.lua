-- Takes the next message: highest priority first, then by the order of the queues given (the caller rotates them).
--
-- Peek, check, note as held, pop: a kill at any point loses nothing. Keys: NS:queue:Q:P, NS:claims, NS:leases, and
-- for the queue `celery` the lists that a plain Celery client publishes to. What cannot be read goes to NS:dead-letters.
-- No run changes its state here.
--
-- ARGV: token, lease in ms, worker, queues
-- Returns {queue, message}, or {last ring of each queue's bell} when nothing waits
--
-- Uses: clock, keys, queues.

local token, lease, worker = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local MOST_BURIED = 500         -- at once, so that it stays short
local buried = 0

local function held(key, queue, priority)
  while true do
    local message = redis.call('LINDEX', key, -1)
    if not message or buried == MOST_BURIED then return nil end
    local sound, envelope = pcall(cjson.decode, message)
    local headers = sound and type(envelope) == 'table' and envelope.headers
    local properties = sound and type(envelope) == 'table' and envelope.properties
    if type(headers) == 'table' and type(properties) == 'table' and type(properties.delivery_info) == 'table'
      and type(envelope.body) == 'string' then
      local claim = { queue = queue, priority = priority, worker = worker, ours = headers.runner and true or false,
        id = type(headers.id) == 'string' and headers.id or nil }
      redis.call('HSET', CLAIMS, token, cjson.encode(claim) .. '\n' .. message)
      redis.call('ZADD', LEASES, NOW + lease, token)
      redis.call('RPOP', key)
      return message
    end
    redis.call('LPUSH', NS .. ':dead-letters', cjson.encode({ at = NOW, queue = queue }) .. '\n' .. message)
    redis.call('LTRIM', NS .. ':dead-letters', 0, 9999)
    redis.call('RPOP', key)
    buried = buried + 1
  end
end

for priority = 9, 0, -1 do
  for i = 4, #ARGV do
    local queue = ARGV[i]
    local exists = queue ~= INBOX or INBOX_KEYS[priority]
    local message = exists and held(queue_key(queue, priority), queue, priority)
    if message then return { queue, message } end
  end
end

local bells = {}
for i = 4, #ARGV do
  -- Where more is to be buried, whoever asked shall ask again and not wait for the next ring.
  local last = buried == MOST_BURIED and {} or redis.call('XREVRANGE', bell_key(ARGV[i]), '+', '-', 'COUNT', 1)
  bells[#bells + 1] = last[1] and last[1][1] or '0-0'
end
return { bells }
