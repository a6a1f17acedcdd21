-- Helps messages without a ring: a ring may be lost with the worker that heard it.
--
-- Uses: keys, queues.

local MOST_RUNG_AGAIN = 10       -- per queue

-- Rings for some queues that have waiting messages but no ring. Returns the number of runs for which the worker that
-- beats must wake its takers itself: none.
local function look_for_waiting()
  for _, queue in ipairs(redis.call('SRANDMEMBER', QUEUES, 20)) do
    if redis.call('EXISTS', ring_key(queue)) == 0 then
      local waiting = 0
      for priority = 0, 9 do
        -- The doctor repairs a damaged list.
        local length = redis.pcall('LLEN', queue_key(queue, priority))
        waiting = waiting + (type(length) == 'number' and length or 0)
      end
      if waiting > 0 then ring(queue, math.min(waiting, MOST_RUNG_AGAIN)) end
    end
  end
  return 0
end
