-- The queue `celery`, to which plain Celery clients publish. Its keys are Kombu's own: four priority steps, each named
-- by its lower bound, 0 without a suffix. Runs of a job with that queue wait under the same keys as in other queues.
--
-- Uses: keys, queues.

local INBOX = 'celery'
local INBOX_KEYS = { [9] = 'celery\6\0229', [6] = 'celery\6\0226', [3] = 'celery\6\0223', [0] = 'celery' }

-- Puts a message without a run back where it was published.
local function put_back_plain(claim)
  if claim.queue == INBOX and not claim.ours then
    redis.call('RPUSH', INBOX_KEYS[math.floor(tonumber(claim.priority) / 3) * 3], claim.message)
    -- All workers listen to this bell.
    redis.call('XADD', bell_key(INBOX), 'MAXLEN', '1', '*', 'r', '1')
  else
    enqueue(claim.queue, claim.priority, claim.message, true)
  end
end
