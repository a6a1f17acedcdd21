#!lua flags=allow-oom
-- Begins a flow that a taker has started, and releases its claim: no worker holds a flow while its steps run.
--
-- Keys: NS:run:ID, NS:flow:ID (see shared/flows.lua), NS:flows, NS:outbox, and the claim, which is released. The run
-- stays in STARTED. A repeated call, after a lost answer, returns the same answer.
--
-- ARGV: id, token
-- Returns 1, or 0 if the token is stale
--
-- Uses: clock, keys, records, claims, flows.

local run = load_run(ARGV[1])
if not run or not run.graph or run.state ~= 'STARTED' then return 0 end
if run.begun then return 1 end
if run.token ~= ARGV[2] then return 0 end
release(run.token)
local timeout = whole(run.timeout)
redis.call('HSET', run_key(run.id), 'begun', AT)
redis.call('HDEL', run_key(run.id), 'token', 'worker')
redis.call('DEL', flow_key(run.id))
redis.call('HSET', flow_key(run.id), 'version', 0, 'news', 0, unpack(timeout and { 'deadline', NOW + timeout } or {}))
redis.call('ZADD', FLOWS, NOW + math.min(LOOK_AGAIN, timeout or LOOK_AGAIN), run.id)
wake_flow(run.id)
return 1
