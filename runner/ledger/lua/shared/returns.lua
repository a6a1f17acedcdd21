-- How a message that no attempt was made of goes back to its queue.
--
-- Uses: clock, keys, waiting, inbox.

-- Puts the message of a claim that was released to the front of its queue, uncharged, or into the delayed set for
-- `pause` ms. run: nil if it is a plain client's, or if its run is gone, which drops it.
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
