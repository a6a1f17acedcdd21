#!lua flags=allow-oom
-- Looks through a portion of the names of queues; with '1', removes those of empty queues that nobody takes from.
--
-- Keys: NS:queues, NS:queue:NAME:PRIORITY, NS:bell:NAME, and what Kombu notes of a queue that a worker takes from:
-- NS:binding:NAME, NS:binding-permanent:NAME. No run changes its state; a name is written again with the next message.
--
-- ARGV: '1' to mend, names that no live worker takes from
-- Returns the names whose queues are empty
--
-- Uses: keys, queues.

local found = {}
for i = 2, #ARGV do
  local waiting = 0
  for priority = 0, 9 do waiting = waiting + redis.call('LLEN', queue_key(ARGV[i], priority)) end
  if waiting == 0 then
    found[#found + 1] = ARGV[i]
    if ARGV[1] == '1' then
      redis.call('SREM', NS .. ':queues', ARGV[i])
      redis.call('DEL', bell_key(ARGV[i]), NS .. ':binding:' .. ARGV[i], NS .. ':binding-permanent:' .. ARGV[i])
    end
  end
end
return found
