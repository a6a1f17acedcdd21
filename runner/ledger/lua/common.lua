-- What every script of the ledger shares; it stands in front of each of them.
--
-- KEYS[1] is the namespace (NS below). Every other key is derived from it here and nowhere else in Lua;
-- Redis Cluster is not supported, so keys need not be named by the caller. Times are Unix
-- milliseconds by this server's clock: clients' clocks never count.

local NS = KEYS[1]
local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local FINAL = { SUCCESS = true, FAILURE = true, REVOKED = true }
local ORIGINS = {
  STARTED = { PENDING = true, RETRY = true },
  RETRY = { STARTED = true },
  SUCCESS = { STARTED = true },
  FAILURE = { PENDING = true, STARTED = true, RETRY = true },
  REVOKED = { PENDING = true, STARTED = true, RETRY = true },
}

local PRUNED_AT_ONCE = 10       -- runs that one settle removes, so that it stays short
local EVENTS_KEPT = 10000
local ACTS_KEPT, LONGEST_COMMENT = 10000, 500

local CLAIMS, LEASES = NS .. ':claims', NS .. ':leases'
local DELAYED, EXPIRING, PRUNABLE = NS .. ':delayed', NS .. ':expiring', NS .. ':prunable'
local PAUSED, PARKED, LIMITS = NS .. ':paused', NS .. ':parked', NS .. ':limits'
local TERMINATING, IDS = NS .. ':terminating', NS .. ':ids'

local function run_key(id) return NS .. ':run:' .. id end
local function log_key(id) return NS .. ':log:' .. id end
local function meta_key(id) return 'celery-task-meta-' .. id end
local function state_key(state) return NS .. ':state:' .. state end
local function job_key(job, state) return NS .. ':job:' .. job .. ':' .. state end

-- Plain Celery clients publish to the queue `celery`. Its keys are Kombu's own: four steps of priority, each named
-- by its lower bound, 0 without a suffix.
local INBOX = 'celery'
local INBOX_KEYS = { [9] = 'celery\6\0229', [6] = 'celery\6\0226', [3] = 'celery\6\0223', [0] = 'celery' }

local function queue_key(queue, priority)
  if queue == INBOX then return INBOX_KEYS[math.floor(tonumber(priority) / 3) * 3] end
  return NS .. ':queue:' .. queue .. ':' .. priority
end

local function bell_key(queue) return NS .. ':bell:' .. queue end

-- What is counted for ever: NS:metrics, a hash. Its fields are read by runner/ledger/metrics.py, and are words: what,
-- job, and what tells one count of a job from another.
local METRICS = NS .. ':metrics'
local BUCKETS = { 100, 500, 1000, 5000, 15000, 60000, 300000, 900000, 3600000, 14400000 }  -- ms, upper ends

local function count(what, job, which)
  redis.call('HINCRBY', METRICS, what .. ' ' .. job .. (which and ' ' .. which or ''), 1)
end

local function observe(what, job, ms)
  local bucket = 'more'
  for _, edge in ipairs(BUCKETS) do
    if ms <= edge then
      bucket = edge
      break
    end
  end
  count(what, job, bucket)
  redis.call('HINCRBY', METRICS, what .. ' ' .. job .. ' sum', math.max(0, math.floor(ms)))
end

-- The fields of a run as a table; nil if there is no such run. flat: its record, if it was read already.
local function load_run(id, flat)
  flat = flat or redis.call('HGETALL', run_key(id))
  if #flat == 0 then return nil end
  local run = { id = id }
  for i = 1, #flat, 2 do run[flat[i]] = flat[i + 1] end
  return run
end

-- Tells watchers: the stream keeps what happened, the channels wake who waits.
local function announce(run, meta)
  redis.call('XADD', NS .. ':events', 'MAXLEN', '~', EVENTS_KEPT, '*',
    'id', run.id, 'job', run.job, 'state', run.state, 'reason', run.reason or '', 'attempt', run.attempts or '0')
  redis.call('PUBLISH', NS .. ':changed:' .. run.id, run.state)
  if meta then redis.call('PUBLISH', meta_key(run.id), meta) end
end

local function index(run, state)
  redis.call('ZADD', state_key(state), run.submitted_at, run.id)
  redis.call('ZADD', job_key(run.job, state), run.submitted_at, run.id)
end

local function unindex(run)
  redis.call('ZREM', state_key(run.state), run.id)
  redis.call('ZREM', job_key(run.job, run.state), run.id)
end

-- Moves a run to another state. The caller has checked who may; this checks where from.
local function enter(run, state)
  if not ORIGINS[state][run.state] then
    error('run ' .. run.id .. ' cannot go from ' .. run.state .. ' to ' .. state)
  end
  unindex(run)
  index(run, state)
  run.state = state
end

-- A worker waits on the bells of its queues; at most one unheard ring is kept.
local function ring(queue)
  redis.call('XADD', bell_key(queue), 'MAXLEN', '1', '*', 'r', '1')
end

-- Workers take from the right end. front: ahead of what waits there already.
local function enqueue(queue, priority, message, front)
  redis.call(front and 'RPUSH' or 'LPUSH', queue_key(queue, priority), message)
  redis.call('SADD', NS .. ':queues', queue)
  ring(queue)
end

local function delay(run, due, message)
  redis.call('HSET', run_key(run.id), 'message', message)
  redis.call('ZADD', DELAYED, due, run.id)
end

-- Puts a run aside: its message waits in its record, and its id in a set, until something lets it go on. `front`: ahead
-- of those that wait there already.
local function put_aside(run, key, message, detail, front)
  local at = front and 0 or -1
  local neighbour = redis.call('ZRANGE', key, at, at, 'WITHSCORES')
  local order = neighbour[2] and tonumber(neighbour[2]) + (front and -1 or 1) or 0
  redis.call('ZADD', key, order, run.id)
  redis.call('HSET', run_key(run.id), 'message', message, 'aside', key, 'detail', detail)
end

-- Takes the message of a run that is to go on out of its record.
local function pick_up(run)
  local message = run.message
  redis.call('HDEL', run_key(run.id), 'message', 'aside', 'detail')
  if run.aside then redis.call('ZREM', run.aside, run.id) end
  run.message, run.aside = nil, nil
  return message
end

-- Whether a run that waits has its message in its record, where something will let it go on.
local function is_aside(run)
  if not run.message then return false end
  return redis.call('ZSCORE', DELAYED, run.id) or run.aside and redis.call('ZSCORE', run.aside, run.id)
end

-- Who paused the job of a run, as {by, since, ends, comment}; nil if nobody did, or if the run is to pass.
local function pause_of(run)
  if run.forced then return nil end
  for _, told in ipairs(redis.call('HMGET', PAUSED, run.job, '*')) do
    local pause = told and cjson.decode(told)
    if pause and (not pause.ends or pause.ends > NOW) then return pause end
  end
  return nil
end

-- The slots of concurrency. A slot belongs to a run, from when its message comes to a queue until the run ends.
local function holders_key(group) return NS .. ':holders:' .. group end
local function waiting_key(group) return NS .. ':waiting:' .. group end

local function limit_of(run)
  return tonumber(redis.call('HGET', LIMITS, run.group) or run.limit or '1')
end

local function holds_slot(run)
  return redis.call('ZSCORE', holders_key(run.group), run.id)
end

-- The oldest first, also among those of one millisecond.
local function hold_slot(group, id)
  local last = redis.call('ZRANGE', holders_key(group), -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', holders_key(group), math.max(NOW, last and tonumber(last) + 1 or 0), id)
end

local function take_slot(run)
  if holds_slot(run) then return true end
  if redis.call('ZCARD', holders_key(run.group)) >= limit_of(run) then return false end
  redis.call('HSETNX', LIMITS, run.group, run.limit)
  hold_slot(run.group, run.id)
  return true
end

-- Gives free slots to those that wait, in their order.
local function promote(group)
  local limit = tonumber(redis.call('HGET', LIMITS, group) or '0')
  while redis.call('ZCARD', holders_key(group)) < limit do
    local id = redis.call('ZPOPMIN', waiting_key(group))[1]
    if not id then break end
    local run = load_run(id)
    if run and run.message and not FINAL[run.state] then
      hold_slot(group, id)
      enqueue(run.queue, run.priority, pick_up(run))
    end
  end
  if redis.call('EXISTS', holders_key(group), waiting_key(group)) == 0 then redis.call('HDEL', LIMITS, group) end
end

local function leave_slot(run)
  if run.group and redis.call('ZREM', holders_key(run.group), run.id) == 1 then promote(run.group) end
end

local function park(run, message, front)
  put_aside(run, PARKED .. ':' .. run.job, message, 'the job is paused', front)
  redis.call('SADD', PARKED, run.job)
  leave_slot(run)
end

local function wait_for_slot(run, message, front)
  redis.call('HSETNX', LIMITS, run.group, run.limit)
  put_aside(run, waiting_key(run.group), message, 'waiting for a concurrency slot', front)
end

-- Lets the message of a run into a queue; sets it aside if the job is paused or no slot is free.
local function admit(run, queue, priority, message, front)
  local first = front or run.state == 'RETRY'
  if pause_of(run) then return park(run, message, first) end
  if run.group and not take_slot(run) then return wait_for_slot(run, message, first) end
  enqueue(queue, priority, message, front)
end

-- A claim is a line of JSON (id, queue, priority, worker) and the message as it stood in its queue.
local function load_claim(token)
  local held = redis.call('HGET', CLAIMS, token)
  if not held then return nil end
  local cut = string.find(held, '\n', 1, true)
  local claim = cjson.decode(string.sub(held, 1, cut - 1))
  claim.message = string.sub(held, cut + 1)
  return claim
end

local function release(token)
  redis.call('HDEL', CLAIMS, token)
  redis.call('ZREM', LEASES, token)
end

local function lease_live(token)
  local ends = token and redis.call('ZSCORE', LEASES, token)
  return ends and tonumber(ends) > NOW
end

-- Notes that the hooks of an outcome are to be fired. `hooks` names the outcomes that have any.
local function fire(run, outcome)
  if run.hooks and string.find(run.hooks, outcome, 1, true) then
    redis.call('ZADD', NS .. ':outbox', NOW, run.id .. ' ' .. outcome .. ' ' .. (run.attempts or '0'))
  end
end

-- Which run a submission of the same job with the same values stands for.
local function unique_key(run) return NS .. ':unique:' .. run.job .. ':' .. run.unique end

-- Keeps who did what: NS:audit, a stream; what people submit is in one of its own, so that many submissions push no
-- other act out. A comment is cut where it is long.
local function audit(act, by, job, id, comment)
  comment = comment or ''
  local length = math.min(#comment, LONGEST_COMMENT)
  while length > 0 and length < #comment and string.find(comment, '^[\128-\191]', length + 1) do length = length - 1 end
  local key = (act == 'submit' or act == 'rerun') and NS .. ':audit-submissions' or NS .. ':audit'
  redis.call('XADD', key, 'MAXLEN', '~', ACTS_KEPT, '*', 'act', act, 'by', by or '', 'job', job or '', 'id', id or '',
    'comment', string.sub(comment, 1, length))
end

local function remove_run(run)
  unindex(run)
  redis.call('ZREM', IDS, run.id)
  redis.call('ZREM', PRUNABLE, run.id)
  -- A log may be long: its memory is given back beside the main thread.
  redis.call('UNLINK', run_key(run.id), meta_key(run.id), log_key(run.id))
end

-- Keeps a job's history within its number of runs, a few at a time: oldest submissions go first.
local function prune_job(run)
  local limit = tonumber(run.keep_runs)
  local total = 0
  for state in pairs(FINAL) do total = total + redis.call('ZCARD', job_key(run.job, state)) end
  for _ = 1, math.min(total - limit, PRUNED_AT_ONCE) do
    local oldest, at
    for state in pairs(FINAL) do
      local heads = redis.call('ZRANGE', job_key(run.job, state), 0, 1, 'WITHSCORES')
      for i = 1, #heads, 2 do
        -- The run that just ended stays, or who waits for it would never learn how.
        if heads[i] ~= run.id and (not at or tonumber(heads[i + 1]) < at) then
          oldest, at = { id = heads[i], job = run.job, state = state }, tonumber(heads[i + 1])
        end
      end
    end
    if not oldest then return end
    remove_run(oldest)
  end
end

-- What a plain Celery client reads where the runner itself ended the run.
local function celery_meta(run, state, exc_type, message)
  return '{"status":"' .. state .. '","result":' .. cjson.encode({
    exc_type = exc_type, exc_message = { message }, exc_module = 'celery.exceptions',
  }) .. ',"traceback":null,"children":[],"date_done":null,"task_id":"' .. run.id .. '"}'
end

-- Ends a run: state, indexes, result, event, retention and the claim in one go.
-- meta: the result in Celery's format; fields: more fields to write, as a flat list.
local function finish(run, state, reason, meta, fields)
  enter(run, state)
  run.reason = reason
  local key = run_key(run.id)
  redis.call('HSET', key, 'state', state, 'finished_at', NOW, unpack(fields or {}))
  if reason then redis.call('HSET', key, 'reason', reason) end
  redis.call('HDEL', key, 'detail', 'retry_at', 'message', 'aside', 'deaths_in_row')
  -- What only a run that goes on needs: there may be a million that have ended.
  redis.call('HDEL', key, 'keep_result', 'keep_runs', 'max_deliveries', 'delivery', 'token', 'hooks', 'unique',
    'unique_for', 'limit', 'policy', 'group', 'traceparent')
  if run.aside then redis.call('ZREM', run.aside, run.id) end
  redis.call('ZREM', EXPIRING, run.id)
  redis.call('ZREM', DELAYED, run.id)
  redis.call('HDEL', TERMINATING, run.id)
  redis.call('SET', meta_key(run.id), meta, 'PX', run.keep_result)
  redis.call('ZADD', PRUNABLE, NOW + tonumber(run.keep_history), run.id)
  if run.token then release(run.token) end
  leave_slot(run)
  if state == 'SUCCESS' then redis.call('HSET', NS .. ':succeeded', run.job, NOW) end
  count('runs', run.job, state .. ' ' .. (reason or ''))
  if run.started_at then observe('ran', run.job, NOW - tonumber(run.started_at)) end
  if state == 'REVOKED' and run.unique and redis.call('GET', unique_key(run)) == run.id then
    redis.call('DEL', unique_key(run))
  end
  fire(run, string.lower(state))
  prune_job(run)
  announce(run, meta)
end

local function revoke_run(run, reason)
  local words = reason == 'cancelled' and 'revoked' or reason
  finish(run, 'REVOKED', reason, celery_meta(run, 'REVOKED', 'TaskRevokedError', words))
end

local function expired(run)
  return (run.state == 'PENDING' or run.state == 'RETRY') and run.expires_at and tonumber(run.expires_at) <= NOW
end

-- What was asked while an attempt ran decides what follows it: no retry and no redelivery.
local function revoked_after(run)
  return run.replaced and 'replaced' or run.terminate and 'terminated' or 'cancelled'
end

-- Makes room for a run whose policy is `replace`: the oldest ones of its group go, so that it is one of `limit`.
-- STARTED ones are terminated, and keep their slots until they are dead.
local function replace_oldest(run)
  local active = {}
  for _, id in ipairs(redis.call('ZRANGE', holders_key(run.group), 0, -1)) do
    local other = load_run(id)
    if other and not other.replaced then active[#active + 1] = other end
  end
  for _, id in ipairs(redis.call('ZRANGE', waiting_key(run.group), 0, -1)) do
    active[#active + 1] = load_run(id)
  end
  for i = 1, #active - limit_of(run) + 1 do
    local oldest = active[i]
    oldest.replaced = run.id
    local told = cjson.encode({ by = cjson.null, comment = 'replaced by run ' .. run.id, at = NOW })
    redis.call('HSET', run_key(oldest.id), 'replaced', run.id, 'revocation', oldest.revocation or told)
    if oldest.state == 'STARTED' then
      redis.call('HSET', run_key(oldest.id), 'terminate', 'TERM', 'detail', 'terminating')
      redis.call('HSET', TERMINATING, oldest.id, 'TERM')
      announce(oldest)
    else
      revoke_run(oldest, 'replaced')
    end
  end
end

-- A run that was never started comes to its queue: here its policy acts.
local function arrive(run, message)
  if run.group and not pause_of(run) and not holds_slot(run) then
    if run.policy == 'replace' then replace_oldest(run) end
    if run.policy == 'skip' and redis.call('ZCARD', holders_key(run.group)) >= limit_of(run) then
      return revoke_run(run, 'skipped')
    end
  end
  admit(run, run.queue, run.priority, message)
end

-- A run that was set aside, or was delayed, goes on. After a loss it need not wait again: ahead of what is queued.
local function go_on(run)
  local message = pick_up(run)
  if run.state == 'PENDING' then return arrive(run, message) end
  admit(run, run.queue, run.priority, message, run.deaths_in_row)
end

-- An attempt vanished with its worker or its process. death: JSON of one death.
-- STARTED -> RETRY (redelivered after 1, 2, 4 s), FAILURE (poisoned; worker_lost: at most once, or it expires
-- meanwhile) or REVOKED (asked for meanwhile).
local function lose(run, message, death)
  -- Ended on request: that is no loss.
  if run.terminate then return revoke_run(run, revoked_after(run)) end
  local deaths = run.deaths and cjson.decode(run.deaths) or {}
  deaths[#deaths + 1] = cjson.decode(death)
  deaths[#deaths].at = NOW
  local in_row = tonumber(run.deaths_in_row or '0') + 1
  local key = run_key(run.id)
  redis.call('HSET', key, 'deaths', cjson.encode(deaths), 'deaths_in_row', in_row)
  redis.call('HINCRBY', key, 'losses', 1)
  count('losses', run.job)
  if run.revocation then return revoke_run(run, 'cancelled') end
  local pause = 1000 * 2 ^ math.min(in_row - 1, 2)
  local late = run.expires_at and NOW + pause > tonumber(run.expires_at)
  local once = run.delivery == 'at_most_once'
  if once or late or in_row >= tonumber(run.max_deliveries or '3') or not message then
    local reason = (once or late or not message) and 'worker_lost' or 'poisoned'
    local words = 'the process that ran it died' .. (in_row > 1 and ' ' .. in_row .. ' times in a row' or '')
    if once then
      words = 'the process that ran it died, and the job is delivered at most once'
    elseif late then
      words = 'the process that ran it died, and the run expires before it could start again'
    end
    return finish(run, 'FAILURE', reason, celery_meta(run, 'FAILURE', 'WorkerLostError', words),
      { 'error', cjson.encode({ type = 'WorkerLostError', message = words, traceback = cjson.null }) })
  end
  enter(run, 'RETRY')
  redis.call('HSET', key, 'state', 'RETRY', 'detail', 'redelivery after a lost attempt', 'retry_at', NOW + pause)
  redis.call('HDEL', key, 'token')
  redis.call('DEL', meta_key(run.id))
  if run.expires_at then redis.call('ZADD', EXPIRING, run.expires_at, run.id) end
  delay(run, NOW + pause, message)
  release(run.token)
  fire(run, 'retry')
  announce(run)
end
