#!lua flags=allow-oom
-- Ends an attempt, and its run with it.
--
-- STARTED -> SUCCESS | FAILURE. Refused to a stale token: a redelivered run has one outcome.
--
-- ARGV: id, token, state, reason ('' for none), result in Celery's format, error as JSON ('' for none)
-- Returns 1, or 0 if the token is stale
--
-- Uses: keys, records, endings.

local run = load_run(ARGV[1])
if not run or run.state ~= 'STARTED' or run.token ~= ARGV[2] then return 0 end
local fields = ARGV[6] ~= '' and { 'error', ARGV[6] } or {}
if ARGV[3] == 'SUCCESS' then redis.call('HDEL', run_key(run.id), 'error') end
finish(run, ARGV[3], ARGV[4] ~= '' and ARGV[4] or nil, ARGV[5], fields)
return 1
