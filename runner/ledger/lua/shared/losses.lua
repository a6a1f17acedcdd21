-- How a lost attempt is handled.
--
-- Uses: clock, keys, events, counts, claims, waiting, transitions, outbox, endings, past, revoking.

-- Handles an attempt that was lost with its worker or its process. death: JSON of one death.
-- STARTED -> RETRY (redelivered after 1, 2, 4 s), FAILURE (poisoned; worker_lost: the delivery is at most once, or the
-- run expires before the redelivery) or REVOKED (requested in the meantime).
local function lose(run, message, death)
  -- The attempt ended on request: that is not a loss.
  if run.terminate then return revoke_run(run, revoked_after(run)) end
  local sound, deaths = pcall(cjson.decode, run.deaths or '[]')
  if not sound or type(deaths) ~= 'table' then deaths = {} end
  deaths[#deaths + 1] = cjson.decode(death)
  deaths[#deaths].at = NOW
  local in_row = tonumber(run.deaths_in_row or '0') + 1
  local key = run_key(run.id)
  run.deaths_in_row = tostring(in_row)
  redis.call('HSET', key, 'deaths', cjson.encode(deaths), 'deaths_in_row', in_row)
  redis.call('HSET', key, 'losses', (tonumber(run.losses) or 0) + 1)
  count('losses', run.job)
  if run.revocation then return revoke_run(run, 'cancelled') end
  local pause = 1000 * 2 ^ math.min(in_row - 1, 2)
  local late = run.expires_at and NOW + pause > tonumber(run.expires_at)
  local once = run.delivery == 'at_most_once'
  if once or late or in_row >= (tonumber(run.max_deliveries) or 3) or not message then
    local reason = (once or late or not message) and 'worker_lost' or 'poisoned'
    local words = 'the process that ran it died' .. (in_row > 1 and ' ' .. in_row .. ' times in a row' or '')
    if once then
      words = 'the process that ran it died, and the job is delivered at most once'
    elseif late then
      words = 'the process that ran it died, and the run expires before it could start again'
    end
    if deaths[#deaths].oom_killed then words = words .. " (ended by the kernel's OOM killer)" end
    return finish(run, 'FAILURE', reason, celery_meta(run, 'FAILURE', 'WorkerLostError', words),
      { 'error', cjson.encode({ type = 'WorkerLostError', message = words, traceback = cjson.null }) })
  end
  count('redelivered', run.job)
  note_attempt(run, 'lost')
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
