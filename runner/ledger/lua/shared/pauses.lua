-- Which jobs are paused.
--
-- Uses: clock, keys.

-- Who paused the job of a run, as {by, since, ends, comment}; nil if nobody did, or if the run is to pass. A pause of a
-- flow's job holds the runs of its steps, too, whose jobs are named FLOW/STEP.
local function pause_of(run)
  if run.forced then return nil end
  local jobs = { run.job, '*', string.match(run.job, '^(.-)/') }
  for _, told in ipairs(redis.call('HMGET', PAUSED, unpack(jobs))) do
    local pause = told and cjson.decode(told)
    if pause and (not pause.ends or pause.ends > NOW) then return pause end
  end
  return nil
end
