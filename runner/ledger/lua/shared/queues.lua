-- The queues of messages, and the bells that wake a worker that waits for one.
--
-- Uses: keys.

-- A ring for each message wakes one idle worker: workers pop the list, and Redis serves the one that has waited
-- longest. A worker that finds a queue empty removes the unheard rings.
local MOST_RINGS = 1000

-- times: the number of messages; 1 by default.
local function ring(queue, times)
  local rings = { '1' }
  for i = 2, math.min(times or 1, MOST_RINGS) do rings[i] = '1' end
  if redis.call('LPUSH', ring_key(queue), unpack(rings)) > MOST_RINGS then
    redis.call('LTRIM', ring_key(queue), 0, MOST_RINGS - 1)
  end
end

-- Workers take from the right end. front: ahead of the messages that already wait there. `...`: more messages.
local function enqueue(queue, priority, message, front, ...)
  redis.call(front and 'RPUSH' or 'LPUSH', queue_key(queue, priority), message, ...)
  redis.call('SADD', QUEUES, queue)
  ring(queue, 1 + select('#', ...))
end
