#!lua flags=allow-oom
-- Gives messages back that this worker will not work on: to the front of their queues, uncharged.
--
-- A run that had started goes STARTED -> RETRY and waits for its redelivery, unless it was revoked meanwhile.
-- With a delay, a message goes into the delayed set instead, and `refused_since` tells since when nobody wanted it.
--
-- ARGV: delay in ms, what to say in `detail`, then tokens
-- Returns how many were given back
--
-- Uses: clock, keys, records, events, queues, claims, waiting, transitions, endings, losses.

local pause, detail, count = tonumber(ARGV[1]), ARGV[2], 0
for i = 3, #ARGV do
  local token = ARGV[i]
  local claim = load_claim(token)
  if claim then
    local run = claim.id and load_run(claim.id)
    release(token)
    if not run then
      if not claim.ours then enqueue(claim.queue, claim.priority, claim.message, true) end
    elseif run.state == 'STARTED' and run.token == token then
      if run.revocation then
        revoke_run(run, revoked_after(run))
      elseif run.delivery == 'at_most_once' then
        -- Started is started: it may not start again.
        lose(run, claim.message, cjson.encode({ worker = run.worker }))
      else
        note_attempt(run, 'handed_back')
        enter(run, 'RETRY')
        redis.call('HSET', run_key(run.id), 'state', 'RETRY', 'detail', detail, 'retry_at', NOW)
        redis.call('HDEL', run_key(run.id), 'token')
        redis.call('DEL', meta_key(run.id))
        if run.expires_at then redis.call('ZADD', EXPIRING, run.expires_at, run.id) end
        admit(run, claim.queue, claim.priority, claim.message, true)
        announce(run)
      end
    elseif run.state == 'PENDING' or run.state == 'RETRY' then
      if pause > 0 then
        redis.call('HSET', run_key(run.id), 'detail', detail)
        redis.call('HSETNX', run_key(run.id), 'refused_since', NOW)
        delay(run, NOW + pause, claim.message)
      else
        admit(run, claim.queue, claim.priority, claim.message, true)
      end
    end
    count = count + 1
  end
end
return count
