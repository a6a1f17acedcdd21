#!lua flags=allow-oom
-- Reads runs, and first settles overdue changes: an expired run is REVOKED even if no worker has noticed yet, and a run
-- that takes longer than `overrun` is marked.
--
-- ARGV: ids
-- Returns for each id {fields of the record as a flat list, result in Celery's format | ''}, for a flow that has begun
-- also its hash and its steps as in read_flow.lua; or {} if unknown
--
-- Uses: keys, records, endings, revoking, events.
-- Seldom: overruns (overruns, mark_overrun), stages (read_steps).

local function read(id)
  local fields = redis.pcall('HGETALL', run_key(id))
  -- For a key of another type, return a record without content.
  if fields.err then return { { 'state', '' }, '' } end
  if #fields == 0 then return {} end
  local run = load_run(id, fields)
  if run and expired(run) and pcall(revoke_run, run, 'expired') then
    fields = redis.call('HGETALL', run_key(id))
  elseif run and run.overrun and not run.overran_at and overruns(run) and pcall(mark_overrun, run) then
    announce(run)
    fields = redis.call('HGETALL', run_key(id))
  end
  local meta = run and run.state == 'SUCCESS' and redis.pcall('GET', meta_key(id))
  local told = { fields, type(meta) == 'string' and meta or '' }
  if run and run.begun then told[3], told[4] = read_steps(id) end
  return told
end

local answer = {}
for i, id in ipairs(ARGV) do answer[i] = read(id) end
return answer
