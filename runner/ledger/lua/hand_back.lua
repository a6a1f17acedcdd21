#!lua flags=allow-oom
-- Returns the messages that a worker holds and will not finish to the front of their queues, without counting a loss.
-- The process of a started attempt must be dead; hand_back_waiting.lua leaves such attempts alone.
--
-- A run that had started goes STARTED -> RETRY and waits for its redelivery, unless it was revoked in the meantime.
-- With a delay, a message goes into the delayed set instead, and `refused_since` holds the time since which no worker
-- accepted it.
--
-- ARGV: delay in ms, text of `detail`, '1' if no work of their jobs was done | '', then tokens
-- Returns the number of messages returned
--
-- Uses: clock, keys, records, events, claims, waiting, transitions, losses, returns, past, revoking.

local pause, detail, untouched, count = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1', 0
for i = 4, #ARGV do
  local token = ARGV[i]
  local claim = load_claim(token)
  if claim then
    local run = claim.id and load_run(claim.id)
    release(token)
    if run and run.state == 'STARTED' and run.token == token then
      if run.revocation then
        revoke_run(run, revoked_after(run))
      elseif run.delivery == 'at_most_once' and not untouched then
        -- Its policy forbids a second start, so the attempt is lost.
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
    else
      put_back(run, claim, pause, detail)
    end
    count = count + 1
  end
end
return count
