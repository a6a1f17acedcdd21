#!lua flags=allow-oom
-- Ends a pause. What was set aside goes on in portions, with the next beats: in its order.
--
-- ARGV: job, or `*` for the pause of all
-- Returns 1, or 0 if it was not paused

return redis.call('HDEL', PAUSED, ARGV[1])
