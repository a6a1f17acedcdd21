-- Jobs that must have succeeded before a run first starts.
--
-- NS:requiring:JOB:MS has the runs that wait for a success of JOB within the last MS. NS:required lists each such set
-- as JOB:MS, so that the beat checks it.
--
-- Uses: clock, keys.

-- Returns the first job that has not succeeded in time for a run, and the time in ms; nil if there is none.
local function missing_success(run)
  for job, within in string.gmatch(run.requires, '(%S+) (%d+)') do
    local last = tonumber(redis.call('HGET', SUCCEEDED, job) or '')
    if not last or last + tonumber(within) < NOW then return job, within end
  end
end
