-- Ends runs without an attempt: revoked, expired, or lost.
--
-- Uses: endings.

-- Returns the result that plain Celery clients read for a run that the runner itself ended.
local function celery_meta(run, state, exc_type, message)
  return '{"status":"' .. state .. '","result":' .. cjson.encode({
    exc_type = exc_type, exc_message = { message }, exc_module = 'celery.exceptions',
  }) .. ',"traceback":null,"children":[],"date_done":null,"task_id":"' .. run.id .. '"}'
end

local function revoke_run(run, reason)
  local words = reason == 'cancelled' and 'revoked' or reason
  finish(run, 'REVOKED', reason, celery_meta(run, 'REVOKED', 'TaskRevokedError', words))
end

-- A request made during an attempt decides what follows it: no retry and no redelivery.
local function revoked_after(run)
  return run.replaced and 'replaced' or run.terminate and 'terminated' or 'cancelled'
end
