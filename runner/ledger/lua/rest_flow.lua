#!lua flags=allow-oom
-- Takes the entry of a flow out of the outbox, if nothing of it has changed since it was read. No run changes its state.
--
-- Keys: NS:flow:ID, NS:outbox.
--
-- ARGV: id, version and news as they were read
-- Returns 1, or 0 if there is something new
--
-- Uses: keys, flows.

local held = redis.pcall('HMGET', flow_key(ARGV[1]), 'version', 'news')
if not held.err and ((held[1] or '') ~= ARGV[2] or (held[2] or '') ~= ARGV[3]) then return 0 end
redis.call('ZREM', OUTBOX, advance_entry(ARGV[1]))
return 1
