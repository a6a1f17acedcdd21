#!lua
-- Appends a chunk to the log of a run, and drops the given chunks to make room. No run changes its state.
--
-- Keys: NS:run:ID, NS:log:ID (a stream: a attempt, n number of the first line, t lines as JSON).
-- A run that was forgotten or pruned does not get a new log. A chunk that was already appended comes again if its
-- answer was lost; it then replaces the last chunk.
--
-- ARGV: id, attempt, number of the chunk's first line, lines as JSON, then ids of chunks to drop
-- Returns the chunk's id, or '' if the run is gone
--
-- Uses: keys.

local id = ARGV[1]
if redis.call('EXISTS', run_key(id)) == 0 then return '' end
local key = log_key(id)
for i = 5, #ARGV do redis.call('XDEL', key, ARGV[i]) end
local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
if last and last[2][2] == ARGV[2] and tonumber(last[2][4]) >= tonumber(ARGV[3]) then redis.call('XDEL', key, last[1]) end
return redis.call('XADD', key, '*', 'a', ARGV[2], 'n', ARGV[3], 't', ARGV[4])
