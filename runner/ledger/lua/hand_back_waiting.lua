#!lua flags=allow-oom
-- Returns the messages that wait in a worker to the front of their queues or into the delayed set, without counting a
-- loss.
--
-- No run changes its state. A claim with a started attempt is left unchanged: a taker may have started the run before
-- its parent process knew.
--
-- ARGV: delay in ms, text of `detail`, then tokens
-- Returns the tokens with a started attempt
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
