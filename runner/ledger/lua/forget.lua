#!lua flags=allow-oom
-- Removes all that is known of a finished run. Keys and slots stay: they outlive it. Whoever copies runs to the archive
-- removes it there too: NS:forgotten has it until then, by the time of this. Without archive_url nobody would come for it.
--
-- ARGV: id, by, '1' if the project has an archive
-- Returns 'unknown' | 'forgotten' | the state that forbids it | 'FLOW' and the id of the flow that it goes with
--
-- Uses: clock, keys, records, acts, endings, removal, revoking.

local run = load_run(ARGV[1])
if not run then return 'unknown' end
if run.flow then return 'FLOW ' .. run.flow end
if expired(run) then revoke_run(run, 'expired') end
if not FINAL[run.state] then return run.state end
remove_run(run)
if ARGV[3] == '1' and redis.call('HEXISTS', ARCHIVE, 'identity') == 1 then redis.call('ZADD', FORGOTTEN, AT, run.id) end
audit('forget', ARGV[2], run.job, run.id)
return 'forgotten'
