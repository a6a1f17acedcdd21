-- The queues of messages when RabbitMQ carries hints: messages wait in the same lists. Instead of a ring, a hint of
-- each message is added to NS:hints, from which it is published to RabbitMQ.
--
-- NS:hints is ordered by the time (ms) from which the publisher of any worker takes a hint. HINTS_HELD: the ms for
-- which the caller of the script has the hints for itself because it publishes them; 0 rings for a publisher
-- (NS:ring:@hints).
-- The queue of a `runner run` has its ring in Redis: RabbitMQ does not need to know it.
--
-- Uses: clock, keys.

local MOST_AT_ONCE = 1000
local PRIVATE_QUEUE = '^run%-' .. string.rep('[0-9a-f]', 8) .. '$'

local function ring_once(key)
  if redis.call('LLEN', key) < MOST_AT_ONCE then redis.call('LPUSH', key, '1') end
end

-- Workers take from the right end. front: ahead of the messages that already wait there. `...`: more messages.
local function enqueue(queue, priority, message, front, ...)
  redis.call(front and 'RPUSH' or 'LPUSH', queue_key(queue, priority), message, ...)
  redis.call('SADD', QUEUES, queue)
  local messages, entries = { message, ... }, {}
  if string.find(queue, PRIVATE_QUEUE) then
    for _ = 1, #messages do ring_once(ring_key(queue)) end
    return
  end
  local rest = '","queue":"' .. queue .. '","priority":' .. priority .. '}'
  for i, each in ipairs(messages) do
    entries[2 * i - 1] = NOW + HINTS_HELD
    entries[2 * i] = '{"id":"' .. (string.match(each, '"id":"([%w._:-]+)"') or '') .. rest
  end
  for i = 1, #entries, 2 * MOST_AT_ONCE do
    redis.call('ZADD', HINTS, unpack(entries, i, math.min(i + 2 * MOST_AT_ONCE - 1, #entries)))
  end
  local bell = ring_key('@hints')
  if HINTS_HELD == 0 and redis.call('EXISTS', bell) == 0 then redis.call('LPUSH', bell, '1') end
end
