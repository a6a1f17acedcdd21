#!lua flags=allow-oom
-- Notes that a run is forgotten that only the archive knows: whoever copies just now, and has it in hand, removes it.
--
-- Keys: NS:forgotten (ids by the time in ms). No run changes its state.
--
-- ARGV: id, by, job
--
-- Uses: clock, keys, acts.

redis.call('ZADD', FORGOTTEN, AT, ARGV[1])
audit('forget', ARGV[2], ARGV[3], ARGV[1])
