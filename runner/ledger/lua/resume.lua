#!lua flags=allow-oom
-- Ends a pause. What was set aside goes on in portions, with the next beats: in its order.
--
-- ARGV: job, or `*` for the pause of all; by
-- Returns 1, or 0 if it was not paused
--
-- Uses: keys, acts.

local ended = redis.call('HDEL', PAUSED, ARGV[1])
if ended == 1 then audit('resume', ARGV[2], ARGV[1]) end
return ended
