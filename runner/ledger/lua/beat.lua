#!lua flags=allow-oom
-- What every worker does about once a second for all: nobody is the leader, anybody may be gone.
--
-- Says that this worker lives; moves due runs from the delayed set to their queues; ends what expired; puts
-- back what dead workers held; prunes. Each in small portions, so that Redis never waits for it.
--
-- ARGV: worker ('' for none), ms the worker counts as alive, lease in ms, the worker's record as name, value, …
-- Returns {ms until the next delayed run is due | '', ids to terminate and their signals as a flat list, more to do}

local worker, lease = ARGV[1], tonumber(ARGV[3])
local PORTION = 200
local LOST_KEPT = 86400000      -- ms
local more = 0

if worker ~= '' then
  local key = NS .. ':worker:' .. worker
  redis.call('HSET', key, 'seen_at', NOW, unpack(ARGV, 4))
  redis.call('PEXPIRE', key, LOST_KEPT)
  redis.call('ZADD', NS .. ':workers', NOW + tonumber(ARGV[2]), worker)
end
-- A worker that went without a word stays in the list for a while, as lost.
redis.call('ZREMRANGEBYSCORE', NS .. ':workers', '-inf', NOW - LOST_KEPT)

local due = redis.call('ZRANGE', DELAYED, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
for _, id in ipairs(due) do
  redis.call('ZREM', DELAYED, id)
  local message, queue, priority = unpack(redis.call('HMGET', run_key(id), 'message', 'queue', 'priority'))
  if message then
    redis.call('HDEL', run_key(id), 'message')
    enqueue(queue, priority, message)
  end
end
if #due == PORTION then more = 1 end

local late = redis.call('ZRANGE', EXPIRING, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
for _, id in ipairs(late) do
  local run = load_run(id)
  if run and expired(run) then
    revoke_run(run, 'expired')
  else
    redis.call('ZREM', EXPIRING, id)
  end
end
if #late == PORTION then more = 1 end

-- After a pause of this server, a restart, a failover or a step of its clock, leases look older than they are:
-- nothing is reaped for one full lease, so that live workers can renew first.
local sweep = NS .. ':sweep'
local last, hold = unpack(redis.call('HMGET', sweep, 'last', 'hold_until'))
last, hold = tonumber(last), tonumber(hold or '0')
if not last or NOW - last > lease / 3 or NOW < last then hold = NOW + lease end
redis.call('HSET', sweep, 'last', NOW, 'hold_until', hold)
if NOW >= hold then
  local dead = redis.call('ZRANGE', LEASES, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
  for _, token in ipairs(dead) do
    local claim = load_claim(token)
    local run = claim and claim.id and load_run(claim.id)
    if run and run.state == 'STARTED' and run.token == token then
      lose(run, claim.message, cjson.encode({ worker = run.worker }))
    elseif run and not FINAL[run.state] and run.state ~= 'STARTED' then
      enqueue(claim.queue, claim.priority, claim.message, true)
    elseif claim and not run and not claim.ours then
      enqueue(claim.queue, claim.priority, claim.message, true)
    end
    release(token)
  end
  if #dead == PORTION then more = 1 end
end

local old = redis.call('ZRANGE', PRUNABLE, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
for _, id in ipairs(old) do
  local run = load_run(id)
  if run then remove_run(run) else redis.call('ZREM', PRUNABLE, id) end
end
if #old == PORTION then more = 1 end

local next_due = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
return { next_due[2] and tostring(math.max(0, tonumber(next_due[2]) - NOW)) or '',
  redis.call('HGETALL', TERMINATING), more }
