-- How runs are removed.
--
-- Uses: keys, records.

local function remove_run(run)
  unindex(run)
  redis.call('ZREM', IDS, run.id)
  redis.call('ZREM', PRUNABLE, run.id)
  -- A log may be long: its memory is given back beside the main thread.
  redis.call('UNLINK', run_key(run.id), meta_key(run.id), log_key(run.id))
end
