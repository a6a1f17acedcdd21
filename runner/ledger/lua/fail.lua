#!lua flags=allow-oom
-- Ends a run that no attempt can be made of.
--
-- PENDING | RETRY -> FAILURE (unknown_job, import_error, invalid_params, …), and releases the claim of its message.
--
-- ARGV: id, token ('' for none), reason, result in Celery's format, error as JSON
-- Returns 1, or 0 if the run is not waiting
--
-- Uses: records, claims, endings.

local run = load_run(ARGV[1])
if ARGV[2] ~= '' then release(ARGV[2]) end
if not run or (run.state ~= 'PENDING' and run.state ~= 'RETRY') then return 0 end
if expired(run) then
  revoke_run(run, 'expired')
  return 0
end
finish(run, 'FAILURE', ARGV[3], ARGV[4], { 'error', ARGV[5] })
return 1
