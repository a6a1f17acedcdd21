#!lua flags=allow-oom
-- Ends a run for which no attempt is possible.
--
-- PENDING | RETRY -> FAILURE (unknown_job, import_error, …), and releases the claim of its message. A stale token is
-- rejected, because another worker may be able to run it.
--
-- ARGV: id, token, reason, result in Celery's format, error as JSON
-- Returns 1, or 2 if the flow of a step run must be advanced now, or 0 if the token is stale or the run is not waiting
--
-- Uses: records, claims, endings, revoking.

local claim = load_claim(ARGV[2])
if not claim or claim.id ~= ARGV[1] then return 0 end
local run = load_run(ARGV[1])
if run and run.state == 'STARTED' and run.token == ARGV[2] then return 0 end
release(ARGV[2])
if not run or (run.state ~= 'PENDING' and run.state ~= 'RETRY') then return 0 end
if expired(run) then
  revoke_run(run, 'expired')
  return 0
end
return finish(run, 'FAILURE', ARGV[3], ARGV[4], { 'error', ARGV[5] }) and 2 or 1
