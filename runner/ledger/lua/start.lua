-- The check before an attempt, and its start, for a message that is already claimed; see shared/starting.lua.
--
-- PENDING | RETRY -> STARTED, or another change as in shared/starting.lua, if the claim is alive.
--
-- ARGV: id, token, worker, pid, job in the message, digest of the worker's version of its spec ('' keeps that of the
--       submission)
-- Returns {'go', attempts, retries, params, expires_at | '', slot | '', traceparent | '', '1' if the submitter does not
-- want the result stored | '', and for a flow or a step run its flow | '', the flow's job | '', its step | '', its item
-- | '', '1' if it is a flow | ''} or {reason for not starting}
--
-- Uses: claims, starting.

local claim = load_claim(ARGV[2])
if not claim or claim.id ~= ARGV[1] then return { 'stale' } end
return start(ARGV[1], ARGV[2], claim, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
