-- Runs that take longer than `overrun` of their job. NS:overrunning holds the unmarked runs of such jobs in STARTED, by
-- the time at which they exceed the limit. The mark (`overran_at`) is permanent, and the hook `overrun` fires once per
-- run.
--
-- Uses: clock, keys, outbox.

local function mark_overrun(run)
  redis.call('ZREM', OVERRUNNING, run.id)
  if run.overran_at then return end
  run.overran_at = AT
  redis.call('HSET', run_key(run.id), 'overran_at', AT)
  if run.hooks and string.find(run.hooks, 'overrun', 1, true) then redis.call('ZADD', OUTBOX, AT, once(run, 'overrun')) end
end

-- Returns whether the attempt of a run in STARTED takes too long.
local function overruns(run)
  local limit, began = tonumber(run.overrun), tonumber(run.started_at)
  return run.state == 'STARTED' and limit and began and NOW - began > limit
end

-- Starts or stops the timer of a run that changes its state.
local function watch_overrun(run, state)
  if state ~= 'STARTED' then
    if overruns(run) then mark_overrun(run) else redis.call('ZREM', OVERRUNNING, run.id) end
  elseif not run.overran_at then
    redis.call('ZADD', OVERRUNNING, NOW + 1 + (tonumber(run.overrun) or 0), run.id)
  end
end
