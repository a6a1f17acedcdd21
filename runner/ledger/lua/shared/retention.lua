-- How many of a job's ended runs are kept: `retention.runs`, and all that ended less than `retention.keep_at_least` ago.
--
-- NS:overfull holds the jobs with more than that number, by the time at which the next run may go; the beat then comes
-- back to them. NS:overfull-rules holds, by job, the number and the time in ms that the last run to end went by.
--
-- Uses: clock, keys, records.

local HOOK_PATIENCE = 1000      -- ms until a run is looked at again whose hooks are not fired

local function count_ended(job)
  local ended = 0
  for state in pairs(FINAL) do ended = ended + redis.call('ZCARD', job_key(job, state)) end
  return ended
end

-- Whether runs of a job may have to go now that one has ended. If the oldest ones are too young, the beat comes back for
-- them, and the runs that end meanwhile do not look again.
local function has_excess(job, limit, least)
  if count_ended(job) <= limit then return false end
  local rule = limit .. ' ' .. least
  if redis.call('HGET', OVERFULL_RULES, job) ~= rule then
    redis.call('HSET', OVERFULL_RULES, job, rule)
    return true
  end
  return tonumber(redis.call('ZSCORE', OVERFULL, job) or 0) <= NOW + HOOK_PATIENCE
end
