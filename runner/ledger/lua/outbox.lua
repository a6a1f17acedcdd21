#!lua
-- Hands out the hooks that are to be fired. Keys: NS:outbox, by the time from which anybody may take an entry.
--
-- An entry is lent: who takes it has so long to fire its hooks and to take it out. It is there again after that, so a
-- crash in between fires nothing twice (the ids of what is submitted follow from the entry) and loses nothing. An entry
-- `ID advance 1` names a flow to advance: rest_flow.lua takes it out.
-- No run changes its state.
--
-- ARGV: most entries, ms to lend them, then entries that are done with
-- Returns the entries, as texts `ID OUTCOME ATTEMPT`
--
-- Uses: clock, keys.

for i = 3, #ARGV do redis.call('ZREM', OUTBOX, ARGV[i]) end
local due = redis.call('ZRANGE', OUTBOX, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(due) do redis.call('ZADD', OUTBOX, NOW + tonumber(ARGV[2]), entry) end
return due
