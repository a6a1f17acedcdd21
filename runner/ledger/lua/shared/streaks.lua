-- How many runs of a job in a row ended in FAILURE: NS:failed-in-row, by job, and after a space how many there were when
-- somebody resumed the job. Counted for runs whose record has `count_failures`: those of jobs with the hook `recovered`,
-- an `after`, or `pause_after`, whose number it is (else 0). REVOKED counts as nothing.
--
-- Uses: clock, keys, acts.

-- Pauses the job of a run for good, unless it is paused already.
local function pause_job(run, in_row)
  local held = redis.call('HGET', PAUSED, run.job)
  local sound, pause = pcall(cjson.decode, held or '')
  if sound and type(pause) == 'table' and (not pause.ends or pause.ends > NOW) then return end
  local words = in_row .. (in_row == 1 and ' run' or ' runs in a row') .. ' ended in FAILURE (pause_after)'
  redis.call('HSET', PAUSED, run.job, cjson.encode({ by = 'runner', since = NOW, comment = words }))
  audit('pause', 'runner', run.job, run.id, words)
end

-- Counts a run that ends. Returns of a FAILURE how many there are in a row with it, of a SUCCESS how many it ends.
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
