-- How runs end.
--
-- Uses: clock, keys, records, events, counts, claims, waiting, transitions.

local PRUNED_AT_ONCE = 10       -- runs that one settle removes, so that it stays short

local OUTBOX = NS .. ':outbox'

local function entry(run, outcome) return run.id .. ' ' .. outcome .. ' ' .. (run.attempts or '0') end

-- Notes that the hooks of an outcome are to be fired. `hooks` names the outcomes that have any.
local function fire(run, outcome)
  if run.hooks and string.find(run.hooks, outcome, 1, true) then
    redis.call('ZADD', OUTBOX, NOW, entry(run, outcome))
  end
end

-- Whether the hooks of a final run are not fired yet: they need its record.
local function fires_yet(run)
  run.attempts = redis.call('HGET', run_key(run.id), 'attempts') or nil
  return redis.call('ZSCORE', OUTBOX, entry(run, string.lower(run.state)))
end

-- Which run a submission of the same job with the same values stands for.
local function unique_key(run) return NS .. ':unique:' .. run.job .. ':' .. run.unique end

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
    if not oldest or fires_yet(oldest) then return end
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
  local ran = run.state == 'STARTED' and NOW - tonumber(run.started_at)  -- not what it waits for a retry
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
  if ran then observe('ran', run.job, ran) end
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
