#!lua flags=allow-oom
-- Revokes a run. The revocation is a field of the record, so it works without an online worker and survives restarts.
--
-- PENDING | RETRY -> REVOKED (cancelled) at once. A run in STARTED stays: its attempt keeps its outcome, and no retry
-- or redelivery follows; with terminate, its worker is asked to end it. A flow in STARTED starts no more steps, and
-- ends after its step runs. A final run does not change. Nor does a run with the same request before: that is neither
-- an audit entry nor an event.
--
-- ARGV: id, by, comment, '1' to terminate, signal
-- Returns {'unknown' | 'final' | 'revoked'}, or for a run that continues {'asked' | 'again' (the same request was made
-- before), its pool if the pool cannot end it as requested | ''}
--
-- Uses: clock, keys, records, events, acts, claims, endings, flows, revoking.

local run = load_run(ARGV[1])
if not run then return { 'unknown' } end
if expired(run) then revoke_run(run, 'expired') end
if FINAL[run.state] then return { 'final' } end

-- Only the prefork pool has a process to end.
local pool = not run.graph and redis.call('HGET', worker_key(run.worker or ''), 'pool')
local unable = ARGV[4] == '1' and run.state == 'STARTED' and pool and pool ~= 'prefork'

-- Each signal counts once; otherwise two alternating signals would add an audit entry every time.
local terminates, signals = ARGV[4] == '1' and not unable, cjson.decode(run.signals or '{}')
if run.state == 'STARTED' and run.revocation and (not terminates or signals[ARGV[5]]) then
  if terminates then end_attempt(run, ARGV[5]) end
  return { 'again', unable and pool or '' }
end

local revocation = {
  by = ARGV[2] ~= '' and ARGV[2] or cjson.null,
  comment = ARGV[3] ~= '' and ARGV[3] or cjson.null,
  at = NOW,
}
run.revocation = run.revocation or cjson.encode(revocation)
redis.call('HSET', run_key(run.id), 'revocation', run.revocation)
audit(terminates and 'terminate' or 'revoke', ARGV[2], run.job, run.id, ARGV[3])
if run.state ~= 'STARTED' then
  revoke_run(run, 'cancelled')
  return { 'revoked' }
end
if terminates then
  signals[ARGV[5]] = true
  redis.call('HSET', run_key(run.id), 'terminate', ARGV[5], 'detail', 'terminating', 'signals', cjson.encode(signals))
  end_attempt(run, ARGV[5])
else
  local words = run.graph and 'no more steps are started' or 'no retry or redelivery will follow this attempt'
  redis.call('HSET', run_key(run.id), 'detail', 'revoked: ' .. words)
  if run.graph then wake_flow(run.id) end
end
announce(run)
return { 'asked', unable and pool or '' }
