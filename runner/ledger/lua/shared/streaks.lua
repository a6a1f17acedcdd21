-- Counts the consecutive runs of a job that ended in FAILURE: NS:failed-in-row has, by job, the number, followed by a
-- space and the number at the time of the last resume. Only runs whose record has `count_failures` are counted: those
-- of jobs with the hook `recovered`, with `after`, or with `pause_after`, whose limit is the value (else 0). REVOKED
-- runs are ignored.
--
-- Uses: clock, keys, acts.

-- Pauses the job of a run without an end, unless it is already paused.
local function pause_job(run, in_row)
  local held = redis.call('HGET', PAUSED, run.job)
  local sound, pause = pcall(cjson.decode, held or '')
  if sound and type(pause) == 'table' and (not pause.ends or pause.ends > NOW) then return end
  local words = in_row .. (in_row == 1 and ' run' or ' runs in a row') .. ' ended in FAILURE (pause_after)'
  redis.call('HSET', PAUSED, run.job, cjson.encode({ by = 'runner', since = NOW, comment = words }))
  audit('pause', 'runner', run.job, run.id, words)
end

-- Counts a run that ends. Returns for a FAILURE the number of consecutive failures including it, for a SUCCESS the
-- number that it ends.
local function count_in_row(run, state)
  local before, resumed_at = string.match(redis.call('HGET', FAILED_IN_ROW, run.job) or '', '^(%d+) ?(%d*)$')
  before, resumed_at = tonumber(before) or 0, tonumber(resumed_at) or 0
  if state ~= 'FAILURE' then
    if before > 0 then redis.call('HDEL', FAILED_IN_ROW, run.job) end
    return before
  end
  local in_row, most = before + 1, tonumber(run.count_failures) or 0
  redis.call('HSET', FAILED_IN_ROW, run.job, in_row .. (resumed_at > 0 and ' ' .. resumed_at or ''))
  if most > 0 and in_row - resumed_at >= most then pause_job(run, in_row) end
  return in_row
end
