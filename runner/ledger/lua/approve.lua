-- Ends an approval step of a flow.
--
-- PENDING -> STARTED -> SUCCESS for an approval, PENDING -> REVOKED (rejected) for a rejection. The first answer
-- counts.
--
-- Keys: NS:run:ID, its result, NS:audit-approvals, and the keys in shared/endings.lua.
--
-- ARGV: id, 'approve' | 'reject', by, comment, for an approval its result in Celery's format
-- Returns {'unknown'}, {'other'}: the run is not an approval, {'ended', state}, or {'done'}
--
-- Uses: clock, keys, records, acts, transitions, endings, revoking.

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
  local comment = ARGV[4] ~= '' and ARGV[4] or cjson.null
  redis.call('HSET', run_key(run.id), 'revocation', cjson.encode({ by = ARGV[3], comment = comment, at = NOW }))
  revoke_run(run, 'rejected')
end
return { 'done' }
