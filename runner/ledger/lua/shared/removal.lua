-- How runs are removed. prune.lua removes the step runs of a flow later, in portions: NS:removed-flows has those flows.
--
-- Uses: keys, records.

local function remove_run(run)
  unindex(run)
  redis.call('ZREM', IDS, run.id)
  -- Archived runs are not in NS:prunable, so projects without an archive save the second command.
  if redis.call('ZREM', PRUNABLE, run.id) == 0 and not run.flow then redis.call('ZREM', ARCHIVED, run.id) end
  -- A log may be long: UNLINK frees its memory outside the main thread.
  redis.call('UNLINK', run_key(run.id), meta_key(run.id), log_key(run.id))
  if run.begun then redis.call('SADD', REMOVED_FLOWS, run.id) end
end
