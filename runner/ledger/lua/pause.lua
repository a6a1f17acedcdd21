#!lua
-- Pauses a job, or all (`*`): NS:paused, by job, as {by, since, ends, comment}. A new pause replaces an existing one,
-- unless the existing one is by the same person, with the same comment, and without an end: then nothing changes.
--
-- No run changes its state: waiting runs are set aside (NS:parked:JOB) when a worker takes them.
--
-- ARGV: job, by, ms until it ends by itself ('' for never), comment
-- Returns the pause as JSON, and 1 if it changed
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
