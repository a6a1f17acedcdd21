#!lua flags=allow-oom
-- Removes the entry of a flow from the outbox, unless the flow has changed since it was read. No run changes its state.
--
-- Keys: NS:flow:ID, NS:outbox.
--
-- ARGV: id, version and news at the time of reading
-- Returns 1, or 0 if it has changed
--
-- Uses: keys, flows.

local held = redis.pcall('HMGET', flow_key(ARGV[1]), 'version', 'news')
if not held.err and ((held[1] or '') ~= ARGV[2] or (held[2] or '') ~= ARGV[3]) then return 0 end
redis.call('ZREM', OUTBOX, advance_entry(ARGV[1]))
return 1
