-- Reads the last handled slot of each job's schedule, and the versions that are in use. Changes nothing.
--
-- NS:slots: by job, the last slot that was submitted or skipped. NS:schedules: by job, see schedules.lua.
-- ARGV: jobs; none for all
-- Returns {now, NS:slots as a flat list, NS:schedules as a flat list}
--
-- Uses: clock, keys.

if #ARGV == 0 then
  return { tostring(NOW), redis.call('HGETALL', SLOTS), redis.call('HGETALL', SCHEDULES) }
end
local answer = { tostring(NOW), {}, {} }
for _, job in ipairs(ARGV) do
  for i, key in ipairs({ SLOTS, SCHEDULES }) do
    local value = redis.call('HGET', key, job)
    if value then
      local list = answer[i + 1]
      list[#list + 1] = job
      list[#list + 1] = value
    end
  end
end
return answer
