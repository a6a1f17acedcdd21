-- Ends a step of a flow that waits for a person.
--
-- PENDING -> STARTED -> SUCCESS if it is approved, PENDING -> FAILURE (rejected) if not. Of several answers the first one
-- counts.
--
-- Keys: NS:run:ID, its result, NS:audit-approvals, and what shared/endings.lua names.
--
-- ARGV: id, 'approve' | 'reject', by, comment, result in Celery's format, error as JSON ('' for none)
-- Returns {'unknown'}, {'other'}: it is no approval, {'ended', state}, or {'done'}
--
-- Uses: records, acts, transitions, endings, revoking.

local run = load_run(ARGV[1])
if not run then return { 'unknown' } end
if not run.approval then return { 'other' } end
if expired(run) then revoke_run(run, 'expired') end
if run.state ~= 'PENDING' then return { 'ended', run.state } end

audit(ARGV[2], ARGV[3], run.job, run.id, ARGV[4])
if ARGV[2] == 'approve' then
  enter(run, 'STARTED')
  finish(run, 'SUCCESS', nil, ARGV[5])
else
  finish(run, 'FAILURE', 'rejected', ARGV[5], { 'error', ARGV[6] })
end
return { 'done' }
