#!lua flags=allow-oom
-- Hands out the hints that are to be published to RabbitMQ. Keys: NS:hints, by the time from which anybody may take one.
--
-- A hint is lent: who takes it has so long to publish it and to take it out. It is there again after that, so a crash in
-- between loses nothing, and may publish it twice. What cannot be read is taken out.
-- No run changes its state.
--
-- ARGV: most hints, ms to lend them, then hints that are done with
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
