#!lua flags=allow-oom
-- Removes the runs that retention no longer keeps, the oldest first: first by age, then by number. Also removes the
-- step runs of removed flows. No run changes its state.
--
-- Keys: NS:prunable, NS:archived, NS:overfull, NS:removed-flows, and all keys of each of those runs. This is not part
-- of the beat, to keep the beat short: there may be thousands of such runs per second.
--
-- ARGV: maximum number of runs
-- Returns 1 if there is more to do now, or 0
--
-- Uses: clock, keys, records, removal, thinning, flows.

local most = tonumber(ARGV[1])
local JOBS = 5                  -- checked in one call

local left = most
for _, index in ipairs({ ARCHIVED, PRUNABLE }) do
  local old = redis.call('ZRANGE', index, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, left)
  for _, id in ipairs(old) do
    local job, state, begun = unpack(redis.pcall('HMGET', run_key(id), 'job', 'state', 'begun'))
    if job and state then remove_run({ id = id, job = job, state = state, begun = begun }) else redis.call('ZREM', index, id) end
  end
  left = left - #old
end
for _, flow in ipairs(redis.call('SRANDMEMBER', REMOVED_FLOWS, 1)) do
  local ids = left > 0 and redis.pcall('RPOP', flow_runs_key(flow), left) or {}
  for _, id in ipairs(ids or {}) do
    local run = load_run(id)
    if run and run.flow == flow then
      left = left - 1
      -- Flows end after their step runs, but another program may have ended the flow, so clean up open step runs too.
      redis.call('ZREM', EXPIRING, id)
      redis.call('ZREM', DELAYED, id)
      if run.aside then redis.call('ZREM', run.aside, id) end
      remove_run(run)
    end
  end
  -- A key of another type has no step runs.
  local length = redis.pcall('LLEN', flow_runs_key(flow))
  if left > 0 and type(length) == 'number' and length > 0 then
    left = 0
  elseif left > 0 then
    redis.call('UNLINK', flow_key(flow), flow_runs_key(flow))
    for _, state in ipairs(STEP_STATES) do redis.call('UNLINK', flow_states_key(flow, state)) end
    redis.call('SREM', REMOVED_FLOWS, flow)
  end
end
for _, job in ipairs(redis.call('ZRANGE', OVERFULL, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, JOBS)) do
  if left == 0 then break end
  local limit, least = string.match(redis.call('HGET', OVERFULL_RULES, job) or '', '^(%d+) (%d+)$')
  if limit then
    left = left - thin_out(job, tonumber(limit), tonumber(least), left)
  else
    redis.call('ZREM', OVERFULL, job)
  end
end
local more = redis.call('ZCOUNT', PRUNABLE, '-inf', NOW) + redis.call('ZCOUNT', ARCHIVED, '-inf', NOW) + redis.call('ZCOUNT', OVERFULL, '-inf', NOW) + redis.call('EXISTS', REMOVED_FLOWS)
return more > 0 and 1 or 0
