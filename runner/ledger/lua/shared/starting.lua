-- The check before every attempt, and its start, in one step.
--
-- PENDING | RETRY -> STARTED if nothing prevents it. Otherwise the message is dropped (its claim is released), and an
-- expired or revoked run ends here. A run of a paused job is set aside, and so is a run that must wait for another job,
-- its rate, or a concurrency slot.
--
-- Uses: clock, keys, records, events, counts, claims, pauses, transitions, outbox, endings.
-- Seldom: waiting (park, may_start), revoking (revoke_run), losses (lose).

-- Returns the data that a worker needs for a run that may start.
local function gone(run)
  local told = { 'go', run.attempts, run.retries or '0', run.params or '{}', run.expires_at or '', run.slot or '',
    run.traceparent or '', run.drop_result or '' }
  if run.flow or run.graph then
    told[9], told[10] = run.flow or '', run.flow_job or string.match(run.job, '^(.-)/') or ''
    told[11], told[12], told[13] = run.step or '', run.item or '', run.graph and '1' or ''
  end
  return told
end

-- Starts the run `id`, whose message was claimed under `token`.
-- job: the job in the message; digest: of the worker's version of its spec ('' keeps that of the submission)
-- Returns the answer of gone(), or {reason for not starting}
local function start(id, token, claim, worker, pid, job, digest)
  local run = load_run(id)
  local function drop(why)
    release(token)
    return { why }
  end

  if not run then return drop('unknown') end
  -- A forged message: it starts its run as the submitted job, or not at all.
  if run.job ~= job then return drop('foreign') end
  if FINAL[run.state] then return drop('final') end
  if run.state == 'STARTED' then
    -- The answer to an earlier call with this token was lost: return it again.
    if run.token == token then
      return gone(run)
    end
    -- No worker holds a flow that has begun.
    if lease_live(run.token) or run.begun then return drop('duplicate') end
    -- The former holder is gone, and no sweep has noticed yet.
    lose(run, claim.message, cjson.encode({ worker = run.worker }))
    return drop('lost')
  end
  if expired(run) then
    revoke_run(run, 'expired')
    return drop('expired')
  end

  if pause_of(run) then
    park(run, claim.message)
    return drop('paused')
  end
  if (run.group or run.rate or run.requires) and not may_start(run, claim.message) then return drop('waiting') end

  local key = run_key(id)
  enter(run, 'STARTED')
  run.attempts = tostring(tonumber(run.attempts or '0') + 1)
  redis.call('HSET', key, 'state', 'STARTED', 'attempts', run.attempts, 'token', token,
    'worker', worker, 'started_at', AT)
  if run.attempts == '1' then
    observe('waited', run.job, NOW - math.max(tonumber(run.submitted_at), tonumber(run.eta or '0')))
    fire(run, 'start')
  end
  if (digest or '') ~= '' then redis.call('HSET', key, 'spec_digest', digest) end
  drop_fields(run, { 'detail', 'retry_at', 'message', 'progress', 'refused_since', 'aside' })
  if run.expires_at then redis.call('ZREM', EXPIRING, id) end
  if run.message then redis.call('ZREM', DELAYED, id) end
  if run.aside then redis.call('ZREM', run.aside, id) end
  local meta = '{"status":"STARTED","result":{"pid":' .. pid .. ',"hostname":' .. cjson.encode(worker)
    .. '},"traceback":null,"children":[],"date_done":null,"task_id":"' .. id .. '"}'
  redis.call('SET', meta_key(id), meta)
  announce(run, meta)
  return gone(run)
end
