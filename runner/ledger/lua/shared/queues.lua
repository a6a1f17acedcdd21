-- The queues of messages, and the bells that wake who waits for one.
--
-- Uses: keys.

-- A ring for each message wakes one idle worker: they pop the list, and Redis serves who has waited longest. Whoever finds
-- a queue empty drops the rings that nobody has heard.
local MOST_RINGS = 1000

-- times: for how many messages; once if absent.
local function ring(queue, times)
  local rings = { '1' }
  for i = 2, math.min(times or 1, MOST_RINGS) do rings[i] = '1' end
  if redis.call('LPUSH', ring_key(queue), unpack(rings)) > MOST_RINGS then
    redis.call('LTRIM', ring_key(queue), 0, MOST_RINGS - 1)
  end
end

-- Workers take from the right end. front: ahead of what waits there already. More messages may follow.
local function enqueue(queue, priority, message, front, ...)
  redis.call(front and 'RPUSH' or 'LPUSH', queue_key(queue, priority), message, ...)
  redis.call('SADD', QUEUES, queue)
  ring(queue, 1 + select('#', ...))
end
