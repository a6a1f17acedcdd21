-- Helps runs that wait because their hints were lost or delayed: the worker that beats wakes its own idle takers,
-- whatever the state of RabbitMQ.
--
-- Uses: keys.

local MOST_QUEUES_LOOKED_AT = 100

-- own: the queues of the worker that beats, separated by commas; the queue of plain clients is checked too. Returns the
-- number of runs that wait in them.
local function look_for_waiting(own)
  local waiting, looked_at = 0, 0
  for queue in string.gmatch(own .. ',celery', '[^,]+') do
    looked_at = looked_at + 1
    if looked_at > MOST_QUEUES_LOOKED_AT then break end
    for priority = 0, 9 do
      -- The doctor repairs a damaged list.
      local length = redis.pcall('LLEN', queue_key(queue, priority))
      waiting = waiting + (type(length) == 'number' and length or 0)
    end
  end
  return waiting
end
