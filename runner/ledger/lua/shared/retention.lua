-- The number of ended runs that are kept for a job: `retention.runs`, and all that ended less than
-- `retention.keep_at_least` ago.
--
-- NS:overfull holds the jobs with more runs than that, by the time at which the next run may be removed; the beat then
-- checks them. NS:overfull-rules holds, by job, the number and the time in ms that applied to the last run that ended.
--
-- Uses: clock, keys, records.

local HOOK_PATIENCE = 1000      -- ms until a run with unfired hooks is checked again

local function count_ended(job)
  local ended = 0
  for state in pairs(FINAL) do ended = ended + redis.call('ZCARD', job_key(job, state)) end
  return ended
end

-- Returns whether runs of a job may have to be removed after one has ended. If the oldest ones are too young, the beat
-- checks them later, and the runs that end in the meantime do not check again.
local function has_excess(job, limit, least)
  if count_ended(job) <= limit then return false end
  local rule = limit .. ' ' .. least
  if redis.call('HGET', OVERFULL_RULES, job) ~= rule then
    redis.call('HSET', OVERFULL_RULES, job, rule)
    return true
  end
  return tonumber(redis.call('ZSCORE', OVERFULL, job) or 0) <= NOW + HOOK_PATIENCE
end
