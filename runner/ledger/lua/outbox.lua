#!lua
-- Hands out the hooks to fire. Keys: NS:outbox, by the time from which any worker may take an entry.
--
-- An entry is lent: the worker that takes it has the given time to fire its hooks and remove it. After that, other
-- workers can take it, so a crash in between loses nothing. It fires nothing twice either, because the ids of the
-- submitted runs are derived from the entry. An entry `ID advance 1` names a flow to advance; rest_flow.lua removes it.
-- No run changes its state.
--
-- ARGV: maximum number of entries, ms to lend them, then entries that are finished
-- Returns the entries, as texts `ID OUTCOME ATTEMPT`
--
-- Uses: clock, keys.

for i = 3, #ARGV do redis.call('ZREM', OUTBOX, ARGV[i]) end
local due = redis.call('ZRANGE', OUTBOX, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(due) do redis.call('ZADD', OUTBOX, NOW + tonumber(ARGV[2]), entry) end
return due
