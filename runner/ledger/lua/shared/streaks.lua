-- How many runs of a job in a row ended in FAILURE: NS:failed-in-row, by job. Counted for runs whose record says so in
-- `count_failures`: those of jobs with the hook `recovered` or with an `after`. REVOKED counts as nothing.
--
-- Uses: keys.

-- Counts a run that ends. Returns of a FAILURE how many there are in a row with it, of a SUCCESS how many it ends.
local function count_in_row(run, state)
  local before = tonumber(redis.call('HGET', FAILED_IN_ROW, run.job) or '') or 0
  if state == 'FAILURE' then
    redis.call('HSET', FAILED_IN_ROW, run.job, before + 1)
    return before + 1
  end
  if before > 0 then redis.call('HDEL', FAILED_IN_ROW, run.job) end
  return before
end
