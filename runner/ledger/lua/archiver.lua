#!lua flags=allow-oom
-- Lets one copier at a time work, so that not all do the same. Two at once would do no harm.
--
-- Keys: NS:archiver (who copies; it expires). No run changes its state.
--
-- ARGV: the copier's name, for how many ms; 0 to give it up
-- Returns 1 if this one copies now, or 0
--
-- Uses: keys.

local held = redis.call('GET', ARCHIVER)
if held and held ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', ARCHIVER) else redis.call('SET', ARCHIVER, ARGV[1], 'PX', ARGV[2]) end
return 1
