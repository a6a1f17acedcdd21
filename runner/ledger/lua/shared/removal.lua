-- How runs are removed. The step runs of a flow follow in portions, by prune.lua: NS:removed-flows has those flows.
--
-- Uses: keys, records.

local function remove_run(run)
  unindex(run)
  redis.call('ZREM', IDS, run.id)
  -- Runs that are in the archive have left it; projects without one pay nothing for that.
  if redis.call('ZREM', PRUNABLE, run.id) == 0 and not run.flow then redis.call('ZREM', ARCHIVED, run.id) end
  -- A log may be long: its memory is given back beside the main thread.
  redis.call('UNLINK', run_key(run.id), meta_key(run.id), log_key(run.id))
  if run.begun then redis.call('SADD', REMOVED_FLOWS, run.id) end
end
