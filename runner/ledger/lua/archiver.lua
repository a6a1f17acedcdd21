#!lua flags=allow-oom
-- Lets one copier work at a time, to avoid duplicate work. Two at once would do no harm.
--
-- Keys: NS:archiver (the name of the copier; it expires). No run changes its state.
--
-- ARGV: the copier's name, the duration in ms; 0 to give it up
-- Returns 1 if this copier has the turn, or 0
--
-- Uses: keys.

local held = redis.call('GET', ARCHIVER)
if held and held ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', ARCHIVER) else redis.call('SET', ARCHIVER, ARGV[1], 'PX', ARGV[2]) end
return 1
