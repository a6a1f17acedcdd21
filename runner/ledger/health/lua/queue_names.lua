#!lua flags=allow-oom
-- Looks through a portion of the names of queues; with '1', removes those of empty queues that nobody takes from.
--
-- Keys: NS:queues, NS:queue:NAME:PRIORITY, NS:ring:NAME, and what Kombu notes of a queue that a worker takes from:
-- NS:binding:NAME, NS:binding-permanent:NAME. No run changes its state; a name is written again with the next message.
--
-- ARGV: '1' to mend, names that no live worker takes from
-- Returns the names whose queues are empty
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
