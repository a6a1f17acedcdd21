-- How runs end.
--
-- Uses: clock, keys, records, events, counts, claims, transitions, outbox, retention.
-- Seldom: waiting (leave_places, leave_backfill, leave_turn), thinning (thin_out), streaks (count_in_row), flows (end_step, leave_flows).

local function expired(run)
  return (run.state == 'PENDING' or run.state == 'RETRY') and run.expires_at and tonumber(run.expires_at) <= NOW
end

-- Ends a run: updates its state, indexes, result, event, retention, and claim together.
-- meta: the result in Celery's format, nil if it is already stored; fields: more fields to write, as a flat list.
-- Returns for a step run whether its flow must be advanced now.
local function finish(run, state, reason, meta, fields)
  local ran = run.state == 'STARTED' and run.started_at and NOW - tonumber(run.started_at)  -- without the wait for a retry
  enter(run, state, reason)
  run.reason = reason
  fields = fields or {}
  if reason then
    fields[#fields + 1] = 'reason'
    fields[#fields + 1] = reason
  end
  local in_row = run.count_failures and not run.reused and state ~= 'REVOKED' and count_in_row(run, state)
  if in_row then
    fields[#fields + 1] = 'failures_in_row'
    fields[#fields + 1] = in_row
  end
  redis.call('HSET', run_key(run.id), 'state', state, 'finished_at', AT, unpack(fields))
  -- Fields that only an active run needs. Dropping them saves memory: there may be a million ended runs.
  local over = { 'detail', 'retry_at', 'message', 'aside', 'deaths_in_row', 'keep_result', 'keep_runs', 'keep_least',
    'max_deliveries', 'delivery', 'token', 'unique', 'unique_for', 'limit', 'policy', 'group', 'rate', 'rate_group', 'requires',
    'traceparent', 'drop_result', 'count_failures', 'overrun', 'at_once', state == 'SUCCESS' and 'error' or nil }
  if not (run.hooks and fires_early(run)) then over[#over + 1] = 'hooks' end
  drop_fields(run, over)
  if run.aside then redis.call('ZREM', run.aside, run.id) end
  if run.expires_at then redis.call('ZREM', EXPIRING, run.id) end
  if run.message then redis.call('ZREM', DELAYED, run.id) end
  if run.terminate then redis.call('HDEL', TERMINATING, run.id) end
  if not run.flow then
    redis.call('SET', meta_key(run.id), meta, 'PX', run.keep_result or KEEP_RESULT)
    redis.call('ZADD', PRUNABLE, NOW + tonumber(run.keep_history or KEEP_HISTORY), run.id)
  elseif meta then
    redis.call('SET', meta_key(run.id), meta)
  end
  if run.token then release(run.token) end
  if run.group or run.rate then leave_places(run) end
  if run.backfill then leave_backfill(run, state) end
  if run.flow and run.at_once then leave_turn(run) end
  if run.graph then leave_flows(run) end
  if state == 'SUCCESS' and not run.reused then redis.call('HSET', SUCCEEDED, run.job, AT) end
  count('runs', run.job, state .. ' ' .. (reason or ''))
  if ran then observe('ran', run.job, ran) end
  if state == 'REVOKED' and run.unique and redis.call('GET', unique_key(run.job, run.unique)) == run.id then
    redis.call('DEL', unique_key(run.job, run.unique))
  end
  if not run.reused then fire(run, string.lower(state), state == 'SUCCESS' and in_row and in_row > 0 and 'recovered') end
  local limit, least = tonumber(run.keep_runs) or 1000, tonumber(run.keep_least) or 3600000
  -- Remove only a few at a time, to keep the call short.
  if not run.flow and has_excess(run.job, limit, least) then thin_out(run.job, limit, least, 10, run.id) end
  announce(run, meta)
  return run.flow and end_step(run, state, reason)
end
