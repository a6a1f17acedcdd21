-- The queues of messages, and the bells that wake who waits for one.
--
-- Uses: keys.

-- Plain Celery clients publish to the queue `celery`. Its keys are Kombu's own: four steps of priority, each named
-- by its lower bound, 0 without a suffix.
local INBOX = 'celery'
local INBOX_KEYS = { [9] = 'celery\6\0229', [6] = 'celery\6\0226', [3] = 'celery\6\0223', [0] = 'celery' }

local function queue_key(queue, priority)
  if queue == INBOX then return INBOX_KEYS[math.floor(tonumber(priority) / 3) * 3] end
  return NS .. ':queue:' .. queue .. ':' .. priority
end

local function bell_key(queue) return NS .. ':bell:' .. queue end

-- A worker waits on the bells of its queues; at most one unheard ring is kept.
local function ring(queue)
  redis.call('XADD', bell_key(queue), 'MAXLEN', '1', '*', 'r', '1')
end

-- Workers take from the right end. front: ahead of what waits there already.
local function enqueue(queue, priority, message, front)
  redis.call(front and 'RPUSH' or 'LPUSH', queue_key(queue, priority), message)
  redis.call('SADD', NS .. ':queues', queue)
  ring(queue)
end
