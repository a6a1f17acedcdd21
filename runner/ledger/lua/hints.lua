#!lua flags=allow-oom
-- Hands out the hints to publish to RabbitMQ. Keys: NS:hints, by the time from which any worker may take one.
--
-- A hint is lent: the worker that takes it has the given time to publish and remove it. After that, other workers can
-- take it, so a crash in between loses nothing, but the hint may be published twice. Unreadable hints are removed. No
-- run changes its state.
--
-- ARGV: maximum number of hints, ms to lend them, then hints that are published
-- Returns the hints, each as JSON
--
-- Uses: clock, keys.

for i = 3, #ARGV do redis.call('ZREM', HINTS, ARGV[i]) end
if ARGV[1] == '0' then return {} end
local due = redis.call('ZRANGE', HINTS, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local told = {}
for _, hint in ipairs(due) do
  if string.find(hint, '^{"id":"[%w._:-]*","queue":"[%w._-]+","priority":%d}$') then
    redis.call('ZADD', HINTS, NOW + tonumber(ARGV[2]), hint)
    told[#told + 1] = hint
  else
    redis.call('ZREM', HINTS, hint)
  end
end
return told
