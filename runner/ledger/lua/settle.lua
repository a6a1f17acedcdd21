#!lua flags=allow-oom
-- Ends an attempt and its run.
--
-- STARTED -> SUCCESS | FAILURE. A stale token is rejected: a redelivered run has one outcome.
--
-- ARGV: id, token, state, reason ('' for none), result in Celery's format, error as JSON ('' for none)
-- Returns 1, or 2 if the flow of a step run must be advanced now, or 0 if the token is stale
--
-- Uses: settling.

return settle(unpack(ARGV))
