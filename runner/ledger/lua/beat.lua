#!lua flags=allow-oom
-- What every worker does about once a second for all: nobody is the leader, anybody may be gone.
--
-- Says that this worker lives; moves due runs from the delayed set to their queues; ends what expired; puts
-- back what dead workers held. Each in small portions, so that Redis never waits for it.
--
-- ARGV: worker ('' for none), ms the worker counts as alive, lease in ms, the worker's record as name, value, …
-- Returns {ms until the next delayed run is due | '', ids to terminate and their signals as a flat list, more to do,
-- hooks to fire, runs to prune}
--
-- Uses: clock, keys, records, counts, queues, claims, waiting, endings, arrivals, losses.

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
  local run = load_run(id)
  if run and run.message then go_on(run) end
end
if #due == PORTION then more = 1 end

-- Jobs that are paused no more, and one group of runs whose slots are looked at: what a failover rolled back is mended.
for _, job in ipairs(redis.call('SRANDMEMBER', PARKED, 5)) do
  if not pause_of({ job = job }) then
    local key = PARKED .. ':' .. job
    local parked = redis.call('ZRANGE', key, 0, PORTION - 1)
    for _, id in ipairs(parked) do
      redis.call('ZREM', key, id)
      local run = load_run(id)
      if run and run.message then go_on(run) end
    end
    if redis.call('EXISTS', key) == 0 then redis.call('SREM', PARKED, job) else more = 1 end
  end
end
local group = redis.call('HRANDFIELD', LIMITS)
if group then
  for _, id in ipairs(redis.call('ZRANGE', holders_key(group), 0, PORTION - 1)) do
    local state = redis.call('HGET', run_key(id), 'state')
    if not state or FINAL[state] then redis.call('ZREM', holders_key(group), id) end
  end
  promote(group)
end

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
      count('redelivered', run.job)
      admit(run, claim.queue, claim.priority, claim.message, true)
    elseif claim and not run and not claim.ours then
      enqueue(claim.queue, claim.priority, claim.message, true)
    end
    release(token)
  end
  if #dead == PORTION then more = 1 end
end

local next_due = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
return { next_due[2] and tostring(math.max(0, tonumber(next_due[2]) - NOW)) or '',
  redis.call('HGETALL', TERMINATING), more, redis.call('ZCOUNT', NS .. ':outbox', '-inf', NOW),
  redis.call('ZCOUNT', PRUNABLE, '-inf', NOW) }
