-- The paused jobs.
--
-- Uses: clock, keys.

-- Returns the pause of a run's job, as {by, since, ends, comment}; nil if there is none, or if the run ignores pauses.
-- A pause of a flow's job also holds its step runs, whose jobs are named FLOW/STEP.
local function pause_of(run)
  if run.forced then return nil end
  local jobs = { run.job, '*', string.match(run.job, '^(.-)/') }
  for _, told in ipairs(redis.call('HMGET', PAUSED, unpack(jobs))) do
    local pause = told and cjson.decode(told)
    if pause and (not pause.ends or pause.ends > NOW) then return pause end
  end
  return nil
end
