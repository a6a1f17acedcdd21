#!lua flags=allow-oom
-- The housekeeping that workers do for all, every half second, by the first worker that comes: there is no leader, and
-- any worker may die.
--
-- Records that this worker is alive. Moves due runs from the delayed set to their queues, and also those that need not
-- wait for a job or their rate any longer. Ends expired runs, returns the messages of dead workers, and rings for
-- messages whose ring was lost. Everything happens in small portions, so that Redis is never blocked for long. Wakes
-- flows that were silent for a while, and flows whose deadline has passed.
--
-- ARGV: worker ('' for none), ms for which the worker counts as alive, lease in ms, the worker's record as name, value,
--       …
-- Returns {ms until the next run is due, or may be due by its rate | '', ids to terminate and their signals as a flat
-- list, more to do, hooks to fire, runs and jobs to prune, ms until this worker's next turn, number of workers whose
-- turn is before it, number of waiting runs for which this worker must wake its idle takers itself}
--
-- Uses: clock, keys, records, rerings, claims, waiting, endings, arrivals, losses, inbox, pauses, rates, requires, revoking, events, overruns, flows.

local worker, lease = ARGV[1], tonumber(ARGV[3])
local PORTION = 200
local LOST_KEPT = 86400000      -- ms
local more = 0

if worker ~= '' then
  local key = worker_key(worker)
  redis.call('HSET', key, 'seen_at', NOW, unpack(ARGV, 4))
  redis.call('PEXPIRE', key, LOST_KEPT)
  redis.call('ZADD', WORKERS, NOW + tonumber(ARGV[2]), worker)
end
-- A worker that went silent stays in the list for a while, as lost.
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', NOW - LOST_KEPT)

local due = redis.call('ZRANGE', DELAYED, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
for _, id in ipairs(due) do
  redis.call('ZREM', DELAYED, id)
  local run = load_run(id)
  if run and run.message then pcall(go_on, run) end
end
if #due == PORTION then more = 1 end

-- Check jobs whose pause has ended, and the slots of one group: this repairs the effects of a failover.
for _, job in ipairs(redis.call('SRANDMEMBER', PARKED, 5)) do
  if not pause_of({ job = job }) then
    local key = parked_key(job)
    local parked = redis.call('ZRANGE', key, 0, PORTION - 1)
    for _, id in ipairs(parked) do
      redis.call('ZREM', key, id)
      local run = load_run(id)
      if run and run.message then pcall(go_on, run) end
    end
    if redis.call('EXISTS', key) == 0 then redis.call('SREM', PARKED, job) else more = 1 end
  end
end
local group = redis.call('HRANDFIELD', LIMITS)
if group then
  for _, id in ipairs(redis.call('ZRANGE', holders_key(group), 0, PORTION - 1)) do
    local state = redis.pcall('HGET', run_key(id), 'state')
    if state ~= 'PENDING' and state ~= 'STARTED' and state ~= 'RETRY' then redis.call('ZREM', holders_key(group), id) end
  end
  promote(group)
end

local slow = redis.call('ZRANGE', OVERRUNNING, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
for _, id in ipairs(slow) do
  local run = load_run(id)
  if run and overruns(run) and pcall(mark_overrun, run) then announce(run) else redis.call('ZREM', OVERRUNNING, id) end
end
if #slow == PORTION then more = 1 end

local unheard = redis.call('ZRANGE', FLOWS, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
for _, id in ipairs(unheard) do
  local state, begun = unpack(redis.pcall('HMGET', run_key(id), 'state', 'begun'))
  if state == 'STARTED' and begun then
    local deadline = redis.pcall('HGET', flow_key(id), 'deadline')
    deadline = whole(deadline)
    local look = NOW + LOOK_AGAIN
    redis.call('ZADD', FLOWS, deadline and deadline > NOW and math.min(deadline, look) or look, id)
    -- A process that advances it right now must check once more: a change it waits for may have come without notice.
    if redis.call('EXISTS', flow_key(id)) == 1 then redis.pcall('HINCRBY', flow_key(id), 'news', 1) end
    redis.call('ZADD', OUTBOX, 'NX', AT, advance_entry(id))
  else
    leave_flows({ id = id })
  end
end
if #unheard == PORTION then more = 1 end

local late = redis.call('ZRANGE', EXPIRING, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
for _, id in ipairs(late) do
  local run = load_run(id)
  if not (run and expired(run) and pcall(revoke_run, run, 'expired')) then redis.call('ZREM', EXPIRING, id) end
end
if #late == PORTION then more = 1 end

-- Release runs that wait for a success of a job, once there is one.
local released = 0
for _, name in ipairs(redis.call('SRANDMEMBER', REQUIRED, PORTION)) do
  local job, within = string.match(name, '^(.*):(%d+)$')
  local key = requiring_key(job or '', within or '')
  local missing = not job or missing_success({ requires = job .. ' ' .. within })
  for _, id in ipairs(not missing and released < PORTION and redis.call('ZRANGE', key, 0, PORTION - 1) or {}) do
    released = released + 1
    redis.call('ZREM', key, id)
    local run = load_run(id)
    if run and run.message and run.aside == key then pcall(go_on, run) end
  end
  if redis.call('EXISTS', key) == 0 then
    redis.call('SREM', REQUIRED, name)
  elseif not missing then
    more = 1
  end
end

-- Gives passes to runs that wait for their rate, in their order.
local passable = PORTION
local function let_pass(group)
  local key = rated_key(group)
  for _, id in ipairs(passable > 0 and redis.call('ZRANGE', key, 0, passable - 1) or {}) do
    passable = passable - 1
    local run = load_run(id)
    if run and run.message and run.aside == key and not FINAL[run.state] then
      local at = next_pass(run)
      if at > NOW then return redis.call('ZADD', RATES, at, group) end
      if not pause_of(run) then hold_pass(run) end
      if not pcall(go_on, run) then redis.call('ZREM', key, id) end
    else
      redis.call('ZREM', key, id)
    end
  end
  if redis.call('EXISTS', key) == 1 then
    redis.call('ZADD', RATES, NOW, group)
    more = 1
  else
    redis.call('ZREM', RATES, group)
  end
end

-- Check one waiting group too: take back a pass that a failover left behind.
local rated = redis.call('ZRANDMEMBER', RATES)
if rated then
  for _, id in ipairs(redis.call('ZRANGE', passes_key(rated), 0, PORTION - 1)) do
    local state = redis.pcall('HGET', run_key(id), 'state')
    if state ~= 'PENDING' and state ~= 'RETRY' then redis.call('ZREM', passes_key(rated), id) end
  end
  let_pass(rated)
end
for _, each in ipairs(redis.call('ZRANGE', RATES, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)) do let_pass(each) end

-- After a pause of this server, a restart, a failover, or a step of its clock, leases look older than they are. Reap
-- nothing for one full lease, so that live workers can renew first.
local last, hold = unpack(redis.call('HMGET', SWEEP, 'last', 'hold_until'))
last, hold = tonumber(last), tonumber(hold or '0')
if not last or NOW - last > lease / 3 or NOW < last then hold = NOW + lease end
redis.call('HSET', SWEEP, 'last', NOW, 'hold_until', hold)
if NOW >= hold then
  local dead = redis.call('ZRANGE', LEASES, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, PORTION)
  local function take_back(token)
    local claim = load_claim(token)
    local run = claim and claim.id and load_run(claim.id)
    if run and run.state == 'STARTED' and run.token == token then
      lose(run, claim.message, cjson.encode({ worker = run.worker }))
    elseif run and not FINAL[run.state] and run.state ~= 'STARTED' then
      count('redelivered', run.job)
      admit(run, claim.queue, claim.priority, claim.message, true)
    elseif claim and not run and not claim.ours then
      put_back_plain(claim)
    end
    release(token)
  end
  -- The doctor repairs a claim that cannot be taken back.
  for _, token in ipairs(dead) do pcall(take_back, token) end
  if #dead == PORTION then more = 1 end
end

local own_queues = ''
for i = 4, #ARGV, 2 do
  if ARGV[i] == 'queues' then own_queues = ARGV[i + 1] end
end
local waiting = look_for_waiting(own_queues)

-- Turns: the first ten workers by name take turns, half a second apart. The others only report that they are alive.
local FIRST = 10
local turn, before = 500, 0
if worker ~= '' then
  local keep = tonumber(ARGV[2])
  -- A worker that was silent for longer than the maximum gets no turn.
  local living = redis.call('ZRANGE', WORKERS, NOW + keep / 2, '+inf', 'BYSCORE')
  for _, name in ipairs(living) do
    if name < worker then before = before + 1 end
  end
  if before < FIRST then
    local count = math.min(#living, FIRST)
    -- A few workers must beat more often than in a third of a lease, or all leases would be held (see above).
    local round = math.min(count * 500, lease * (count > 2 and 1 / 3 or 0.3))
    turn = (before * round / count - NOW) % round
    if turn < round / count / 2 then turn = turn + round end
  else
    turn = keep * 0.49  -- within the half of it that was checked above
  end
end

local next_due = math.huge
for _, key in ipairs({ DELAYED, RATES }) do
  next_due = math.min(next_due, tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or math.huge))
end
return { next_due < math.huge and tostring(math.max(0, next_due - NOW)) or '',
  redis.call('HGETALL', TERMINATING), more, redis.call('ZCOUNT', OUTBOX, '-inf', NOW),
  redis.call('ZCOUNT', PRUNABLE, '-inf', NOW) + redis.call('ZCOUNT', ARCHIVED, '-inf', NOW) + redis.call('ZCOUNT', OVERFULL, '-inf', NOW) + redis.call('EXISTS', REMOVED_FLOWS),
  math.floor(turn), before, waiting }
