-- How a message returns to its queue without an attempt.
--
-- Uses: clock, keys, waiting, inbox.

-- Puts the message of a released claim at the front of its queue, without counting a loss, or into the delayed set for
-- `pause` ms. run: nil for a message of a plain client, and for a run that is gone, whose message is dropped.
local function put_back(run, claim, pause, detail)
  if not run then
    if not claim.ours then put_back_plain(claim) end
  elseif run.state == 'PENDING' or run.state == 'RETRY' then
    if pause > 0 then
      redis.call('HSET', run_key(run.id), 'detail', detail)
      redis.call('HSETNX', run_key(run.id), 'refused_since', NOW)
      delay(run, NOW + pause, claim.message)
    else
      admit(run, claim.queue, claim.priority, claim.message, true)
    end
  end
end
