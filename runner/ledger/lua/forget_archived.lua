#!lua flags=allow-oom
-- Records that a run was forgotten that only the archive has: a copier that is writing it at the moment deletes it.
--
-- Keys: NS:forgotten (ids by the time in ms). No run changes its state.
--
-- ARGV: id, by, job
--
-- Uses: clock, keys, acts.

redis.call('ZADD', FORGOTTEN, AT, ARGV[1])
audit('forget', ARGV[2], ARGV[3], ARGV[1])
