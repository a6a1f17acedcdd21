#!lua flags=allow-oom
-- Removes all data of a finished run. Its keys and slots stay: they outlive it. The copier removes it from the archive
-- too: NS:forgotten has it until then, by the time of this call. Without archive_url there is no copier, so nothing is
-- added.
--
-- ARGV: id, by, '1' if the project has an archive
-- Returns 'unknown' | 'forgotten' | the state that forbids it | 'FLOW' and the id of the flow to which it belongs
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
