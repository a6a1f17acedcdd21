#!lua flags=allow-oom
-- Ends an attempt and puts the same message into the delayed set.
--
-- STARTED -> RETRY, or REVOKED if that was requested while it ran. `retries` counts the retries of the retry policy
-- only.
--
-- ARGV: id, token, delay in ms, result in Celery's format, error as JSON
-- Returns 1, or 0 if the token is stale
--
-- Uses: clock, keys, records, events, counts, claims, waiting, transitions, outbox, past, revoking.

local run = load_run(ARGV[1])
if not run or run.state ~= 'STARTED' or run.token ~= ARGV[2] then return 0 end
local claim = load_claim(ARGV[2])
if not claim then return 0 end
if run.revocation then
  redis.call('HSET', run_key(run.id), 'error', ARGV[5])
  revoke_run(run, revoked_after(run))
  return 1
end
local due = NOW + tonumber(ARGV[3])
local key = run_key(run.id)
note_attempt(run, 'retry', ARGV[5])
enter(run, 'RETRY')
redis.call('HSET', key, 'state', 'RETRY', 'retry_at', due, 'error', ARGV[5])
redis.call('HSET', key, 'retries', (run.retries or 0) + 1)
count('retries', run.job)
redis.call('HDEL', key, 'detail', 'token', 'deaths_in_row')
redis.call('SET', meta_key(run.id), ARGV[4])
if run.expires_at then redis.call('ZADD', EXPIRING, run.expires_at, run.id) end
delay(run, due, claim.message)
release(ARGV[2])
if run.policy == 'queue' then leave_slot(run) end
fire(run, 'retry')
announce(run, ARGV[4])
return 1
