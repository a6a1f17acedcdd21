#!lua
-- Pauses a job, or all (`*`): NS:paused, by job, as {by, since, ends, comment}. What was paused before is paused anew,
-- unless the same person had paused it in the same words and for good: then nothing changes.
--
-- No run changes its state: those that wait are set aside (NS:parked:JOB) when a worker comes to them.
--
-- ARGV: job, by, ms until it ends by itself ('' for never), comment
-- Returns what is noted, as JSON, and 1 if that changed
--
-- Uses: clock, keys, acts.

local ends = tonumber(ARGV[3])
local before = redis.call('HGET', PAUSED, ARGV[1])
if before and not ends then
  local held = cjson.decode(before)
  if not held.ends and held.by == ARGV[2] and (held.comment or '') == ARGV[4] then return { before, 0 } end
end
local told = cjson.encode({
  by = ARGV[2],
  since = NOW,
  ends = ends and NOW + ends or nil,
  comment = ARGV[4] ~= '' and ARGV[4] or nil,
})
redis.call('HSET', PAUSED, ARGV[1], told)
audit('pause', ARGV[2], ARGV[1], '', ARGV[4])
return { told, 1 }
