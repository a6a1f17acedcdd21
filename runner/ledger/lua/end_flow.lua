#!lua flags=allow-oom
-- Ends a flow, unless it was advanced since it was read.
--
-- STARTED -> SUCCESS | FAILURE (step_failed, timeout, invalid_params) | REVOKED (cancelled, terminated, replaced).
--
-- Keys: NS:run:ID, NS:flow:ID, and the keys in shared/endings.lua.
--
-- ARGV: id, version at the time of reading, state, reason ('' for none), result in Celery's format, error as JSON (''
--       for none)
-- Returns {'done', the parent flow if it must be advanced now | ''}, {'stale'}, or {'over'}: it has already ended
--
-- Uses: keys, records, endings, stages.

local run = load_run(ARGV[1])
if not is_under_way(run) then return { 'over' } end
local version = redis.pcall('HGET', flow_key(run.id), 'version')
if (type(version) == 'string' and version or '') ~= ARGV[2] then return { 'stale' } end
local woken = finish(run, ARGV[3], ARGV[4] ~= '' and ARGV[4] or nil, ARGV[5], ARGV[6] ~= '' and { 'error', ARGV[6] } or {})
return { 'done', woken and run.flow or '' }
