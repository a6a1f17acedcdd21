#!lua flags=allow-oom
-- Revokes a run. It is a field of the record, so it holds with no worker online and across restarts.
--
-- PENDING | RETRY -> REVOKED (cancelled), now. STARTED stays: its outcome stands, and nothing follows it; with
-- terminate, its worker is asked to end it. A final run does not change.
--
-- ARGV: id, by, comment, '1' to terminate, signal
-- Returns 'unknown' | 'final' | 'revoked' | 'asked'
--
-- Uses: clock, keys, records, events, acts, endings.

local run = load_run(ARGV[1])
if not run then return 'unknown' end
if expired(run) then revoke_run(run, 'expired') end
if FINAL[run.state] then return 'final' end

local revocation = {
  by = ARGV[2] ~= '' and ARGV[2] or cjson.null,
  comment = ARGV[3] ~= '' and ARGV[3] or cjson.null,
  at = NOW,
}
run.revocation = run.revocation or cjson.encode(revocation)
redis.call('HSET', run_key(run.id), 'revocation', run.revocation)
audit(ARGV[4] == '1' and 'terminate' or 'revoke', ARGV[2], run.job, run.id, ARGV[3])
if run.state ~= 'STARTED' then
  revoke_run(run, 'cancelled')
  return 'revoked'
end
if ARGV[4] == '1' then
  redis.call('HSET', run_key(run.id), 'terminate', ARGV[5], 'detail', 'terminating')
  redis.call('HSET', TERMINATING, run.id, ARGV[5])
else
  redis.call('HSET', run_key(run.id), 'detail', 'revoked: no retry or redelivery will follow this attempt')
end
announce(run)
return 'asked'
