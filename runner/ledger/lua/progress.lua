#!lua flags=allow-oom
-- Records the progress of an attempt. No run changes its state. A stale token is rejected.
--
-- ARGV: id, token, progress as JSON
-- Returns 1, or 0 if the token is stale
--
-- Uses: keys, records.

local run = load_run(ARGV[1])
if not run or run.state ~= 'STARTED' or run.token ~= ARGV[2] then return 0 end
redis.call('HSET', run_key(run.id), 'progress', ARGV[3])
redis.call('PUBLISH', changed_key(run.id), run.state)
return 1
