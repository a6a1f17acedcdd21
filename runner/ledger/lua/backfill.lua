-- Begins or continues a backfill. submit.lua creates its runs.
--
-- NS:backfill:ID: the request, the number of runs that were created, and how many of them ended in each state.
-- NS:backfills: the time of the last request for each one. The oldest are removed when there are too many. Continuing a
-- revoked backfill makes it active again. If it has a maximum number of active runs, waiting runs get the free places.
-- No run changes its state.
--
-- ARGV: id, job, first and last ms of its slots, maximum number of active runs ('' for any number), '1' to run slots
--       again, by, number of slots, number of backfills to keep
-- Returns nothing
--
-- Uses: clock, keys, acts, waiting.

local id, job, at_once, by = ARGV[1], ARGV[2], ARGV[5], ARGV[7]
local key = backfill_key(id)
redis.call('HDEL', key, 'revoked', 'at_once')
redis.call('HSET', key, 'job', job, 'from', ARGV[3], 'to', ARGV[4], 'by', by, 'at', AT, 'slots', ARGV[8])
if at_once ~= '' then redis.call('HSET', key, 'at_once', at_once) end
if ARGV[6] == '1' then redis.call('HSET', key, 'again', 1) end
redis.call('ZADD', BACKFILLS, NOW, id)
for _, old in ipairs(redis.call('ZRANGE', BACKFILLS, 0, -1 - tonumber(ARGV[9]))) do
  redis.call('ZREM', BACKFILLS, old)
  redis.call('UNLINK', backfill_key(old))
end
local group = places_of({ backfill = id })
if at_once ~= '' then
  redis.call('HSET', LIMITS, group, at_once)
  promote(group)
end
audit('backfill', by, job, '', id)
