-- Records which versions of schedules are in use, and which slots need no run.
--
-- NS:schedules, by job: DIGEST SINCE TOUCHED for each version of its schedule, in ms. No slot up to SINCE is run: a new
-- schedule does not catch up. While hosts disagree about jobs.d, a job has several versions; a version that was not
-- touched for a while is removed. The digest - stands for hosts on which the job has no schedule.
-- NS:slots, by job: the last slot that was submitted or skipped. It never goes back, unless no tick can have written
-- it: it is not a number, or it is more than a day ahead.
--
-- ARGV: now, ms after which an untouched version is removed, then job, digest ('' for none), last slot ('' for none)
-- Returns nothing
--
-- Uses: keys.

local now, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local FARTHEST_AHEAD = 86400000

local function note(job, digest)
  local versions, ours = {}, nil
  for name, since, touched in string.gmatch(redis.call('HGET', SCHEDULES, job) or '', '(%S+) (%d+) (%d+)') do
    versions[#versions + 1] = { name, tonumber(since), tonumber(touched) }
    if name == digest then ours = versions[#versions] end
  end
  -- A single version is not touched, so that a tick writes little; its absence counts from now.
  if not ours and #versions == 1 then versions[1][3] = now end
  if not ours then
    ours = { digest, now, now }
    versions[#versions + 1] = ours
  end
  ours[3] = math.max(ours[3], now)
  local kept = {}
  for _, each in ipairs(versions) do
    if each == ours or each[3] >= now - keep then
      kept[#kept + 1] = string.format('%s %.0f %.0f', each[1], each[2], each[3])
    end
  end
  if #kept == 1 and digest == '-' then
    redis.call('HDEL', SCHEDULES, job)
  else
    redis.call('HSET', SCHEDULES, job, table.concat(kept, ' '))
  end
end

for i = 3, #ARGV, 3 do
  local job, digest, slot = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if digest ~= '' then note(job, digest) end
  if slot then
    local last = tonumber(redis.call('HGET', SLOTS, job) or '')
    if not last or last < slot or last > now + FARTHEST_AHEAD then redis.call('HSET', SLOTS, job, ARGV[i + 2]) end
  end
end
