-- How an attempt ends its run.
--
-- Uses: records, endings.

-- STARTED -> SUCCESS | FAILURE. A stale token is rejected: a redelivered run has one outcome.
-- reason: '' for none; meta: the result in Celery's format; failure: the error as JSON, '' for none
-- Returns 1, or 2 if a flow must be advanced now, or 0 if the token is stale
local function settle(id, token, state, reason, meta, failure)
  local run = load_run(id)
  if not run or run.state ~= 'STARTED' or run.token ~= token then return 0 end
  local fields = failure ~= '' and { 'error', failure } or {}
  return finish(run, state, reason ~= '' and reason or nil, meta, fields) and 2 or 1
end
