-- The guard before an attempt, and its start, for a message that is claimed already; see shared/starting.lua.
--
-- PENDING | RETRY -> STARTED, or what shared/starting.lua says, if the claim is alive.
--
-- ARGV: id, token, worker, pid, job that the message names, digest of the spec that the worker has of it ('' keeps
--       that of the submission)
-- Returns {'go', attempts, retries, params, expires_at | '', slot | '', traceparent | '',
-- '1' if the submitter does not want the result stored | '', and of a flow or a step run
-- its flow | '', the flow's job | '', its step | '', its item | '', '1' if it is a flow | ''} or {why not}
--
-- Uses: claims, starting.

local claim = load_claim(ARGV[2])
if not claim or claim.id ~= ARGV[1] then return { 'stale' } end
return start(ARGV[1], ARGV[2], claim, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
