-- Runs that take longer than `overrun` of their job. NS:overrunning holds those of such jobs in STARTED that are not marked,
-- by the time at which they will be. A mark (`overran_at`) stays, and the hook `overrun` fires once in a run.
--
-- Uses: clock, keys, outbox.

local function mark_overrun(run)
  redis.call('ZREM', OVERRUNNING, run.id)
  if run.overran_at then return end
  run.overran_at = AT
  redis.call('HSET', run_key(run.id), 'overran_at', AT)
  if run.hooks and string.find(run.hooks, 'overrun', 1, true) then redis.call('ZADD', OUTBOX, AT, once(run, 'overrun')) end
end

-- Whether the attempt of a run in STARTED takes too long.
local function overruns(run)
  local limit, began = tonumber(run.overrun), tonumber(run.started_at)
  return run.state == 'STARTED' and limit and began and NOW - began > limit
end

-- Looks at a run that goes to another state: from now on its time counts, or it does no more.
local function watch_overrun(run, state)
  if state ~= 'STARTED' then
    if overruns(run) then mark_overrun(run) else redis.call('ZREM', OVERRUNNING, run.id) end
  elseif not run.overran_at then
    redis.call('ZADD', OVERRUNNING, NOW + 1 + (tonumber(run.overrun) or 0), run.id)
  end
end
