#!lua flags=allow-oom
-- Gives back the messages that wait in a worker: to the front of their queues, uncharged, or into the delayed set.
--
-- No run changes its state. A claim under which an attempt has started stays as it is: a taker may have started
-- the run before its parent heard of it.
--
-- ARGV: delay in ms, what to say in `detail`, then tokens
-- Returns the tokens under which an attempt has started
--
-- Uses: records, claims, returns.

local pause, detail, started = tonumber(ARGV[1]), ARGV[2], {}
for i = 3, #ARGV do
  local token = ARGV[i]
  local claim = load_claim(token)
  if claim then
    local run = claim.id and load_run(claim.id)
    if run and run.state == 'STARTED' and run.token == token then
      started[#started + 1] = token
    else
      release(token)
      put_back(run, claim, pause, detail)
    end
  end
end
return started
