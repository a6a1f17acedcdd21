-- How runs end.
--
-- Uses: clock, keys, records, events, counts, claims, transitions, outbox, retention.
-- Seldom: waiting (leave_slot), thinning (thin_out).

local function expired(run)
  return (run.state == 'PENDING' or run.state == 'RETRY') and run.expires_at and tonumber(run.expires_at) <= NOW
end

-- Ends a run: state, indexes, result, event, retention and the claim in one go.
-- meta: the result in Celery's format; fields: more fields to write, as a flat list.
local function finish(run, state, reason, meta, fields)
  local ran = run.state == 'STARTED' and run.started_at and NOW - tonumber(run.started_at)  -- not what it waits for a retry
  enter(run, state)
  run.reason = reason
  fields = fields or {}
  if reason then
    fields[#fields + 1] = 'reason'
    fields[#fields + 1] = reason
  end
  redis.call('HSET', run_key(run.id), 'state', state, 'finished_at', AT, unpack(fields))
  -- What only a run that goes on needs: there may be a million that have ended.
  drop_fields(run, { 'detail', 'retry_at', 'message', 'aside', 'deaths_in_row', 'keep_result', 'keep_runs', 'keep_least',
    'max_deliveries', 'delivery', 'token', 'hooks', 'unique', 'unique_for', 'limit', 'policy', 'group', 'traceparent',
    'drop_result', state == 'SUCCESS' and 'error' or nil })
  if run.aside then redis.call('ZREM', run.aside, run.id) end
  if run.expires_at then redis.call('ZREM', EXPIRING, run.id) end
  if run.message then redis.call('ZREM', DELAYED, run.id) end
  if run.terminate then redis.call('HDEL', TERMINATING, run.id) end
  redis.call('SET', meta_key(run.id), meta, 'PX', run.keep_result or KEEP_RESULT)
  redis.call('ZADD', PRUNABLE, NOW + tonumber(run.keep_history or KEEP_HISTORY), run.id)
  if run.token then release(run.token) end
  if run.group then leave_slot(run) end
  if state == 'SUCCESS' then redis.call('HSET', SUCCEEDED, run.job, AT) end
  count('runs', run.job, state .. ' ' .. (reason or ''))
  if ran then observe('ran', run.job, ran) end
  if state == 'REVOKED' and run.unique and redis.call('GET', unique_key(run.job, run.unique)) == run.id then
    redis.call('DEL', unique_key(run.job, run.unique))
  end
  fire(run, string.lower(state))
  local limit, least = tonumber(run.keep_runs) or 1000, tonumber(run.keep_least) or 3600000
  -- A few at a time, so that it stays short.
  if has_excess(run.job, limit, least) then thin_out(run.job, limit, least, 10, run.id) end
  announce(run, meta)
end
