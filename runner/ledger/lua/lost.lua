#!lua flags=allow-oom
-- Reports that the process of an attempt is dead. The worker that noticed it calls this with the attempt's token.
--
-- STARTED -> RETRY | FAILURE (poisoned) | REVOKED (terminated, cancelled). The message of a run that had not started
-- goes back to its queue, and no loss is counted.
--
-- ARGV: id, token, death as JSON
-- Returns the next state, or '' if the token is stale
--
-- Uses: records, counts, claims, waiting, losses.

local run = load_run(ARGV[1])
local claim = load_claim(ARGV[2])
if not run or not claim then return '' end
if run.state == 'STARTED' and run.token == ARGV[2] then
  lose(run, claim.message, ARGV[3])
  return run.state
end
if run.state == 'PENDING' or run.state == 'RETRY' then
  count('redelivered', run.job)
  admit(run, claim.queue, claim.priority, claim.message, true)
end
release(ARGV[2])
return run.state
