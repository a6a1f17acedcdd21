#!lua flags=allow-oom
-- Checks a portion of the queue names; with '1', removes those of empty queues without a consumer.
--
-- Keys: NS:queues, NS:queue:NAME:PRIORITY, NS:ring:NAME, and Kombu's keys for a queue with a consumer: NS:binding:NAME,
-- NS:binding-permanent:NAME. No run changes its state. The next message adds the name again.
--
-- ARGV: '1' to repair, names of queues from which no live worker takes
-- Returns the names of the empty queues
--
-- Uses: keys.

local found = {}
for i = 2, #ARGV do
  local waiting = 0
  for priority = 0, 9 do waiting = waiting + redis.call('LLEN', queue_key(ARGV[i], priority)) end
  if waiting == 0 then
    found[#found + 1] = ARGV[i]
    if ARGV[1] == '1' then
      redis.call('SREM', QUEUES, ARGV[i])
      redis.call('DEL', ring_key(ARGV[i]), binding_key(ARGV[i]), permanent_binding_key(ARGV[i]))
    end
  end
end
return found
