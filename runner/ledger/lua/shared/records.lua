-- The records of runs, and the indexes of their states.
--
-- Uses: keys.

local FINAL = { SUCCESS = true, FAILURE = true, REVOKED = true }

-- The fields of a run as a table; nil if there is no such run. flat: its record, if it was read already.
local function load_run(id, flat)
  flat = flat or redis.call('HGETALL', run_key(id))
  if #flat == 0 then return nil end
  local run = { id = id }
  for i = 1, #flat, 2 do run[flat[i]] = flat[i + 1] end
  return run
end

local function index(run, state)
  redis.call('ZADD', state_key(state), run.submitted_at, run.id)
  redis.call('ZADD', job_key(run.job, state), run.submitted_at, run.id)
end

local function unindex(run)
  redis.call('ZREM', state_key(run.state), run.id)
  redis.call('ZREM', job_key(run.job, run.state), run.id)
end

local function remove_run(run)
  unindex(run)
  redis.call('ZREM', IDS, run.id)
  redis.call('ZREM', PRUNABLE, run.id)
  -- A log may be long: its memory is given back beside the main thread.
  redis.call('UNLINK', run_key(run.id), meta_key(run.id), log_key(run.id))
end
