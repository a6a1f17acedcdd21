#!lua flags=allow-oom
-- Removes damaged records, each with its result, its log, and its index entries. A record that was rewritten since it
-- was read is kept. If it was an open run of a flow's step, the step counts it as failed, so that the flow can
-- continue.
--
-- Keys: NS:run:ID, NS:log:ID, the result of each, and every index; see shared/flows.lua for those of its flow. No run
-- changes its state.
--
-- ARGV: '1' to repair, then the ids of the records and their digests at the time of reading
-- Returns the ids of the records that are still damaged, or that were removed
--
-- Uses: keys, flows.

local function remove(id, job)
  for _, state in ipairs({ 'PENDING', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED' }) do
    redis.pcall('ZREM', state_key(state), id)
    redis.pcall('ZREM', job_key(job, state), id)
    redis.pcall('ZREM', step_state_key(state), id)
    redis.pcall('ZREM', step_job_key(job, state), id)
  end
  for _, index in ipairs({ IDS, PRUNABLE, ARCHIVED, EXPIRING, DELAYED, OVERRUNNING, FLOWS }) do redis.pcall('ZREM', index, id) end
  redis.pcall('HDEL', TERMINATING, id)
  redis.call('UNLINK', run_key(id), meta_key(id), log_key(id))
  if redis.call('EXISTS', flow_key(id), flow_runs_key(id)) > 0 then redis.call('SADD', REMOVED_FLOWS, id) end
end

-- id: a step run whose record is gone; flow, step, item, ordinal: their values in that record
local function fail_step(id, flow, step, item, ordinal)
  ordinal = whole(ordinal)
  if not ordinal or redis.pcall('LINDEX', flow_runs_key(flow), ordinal) ~= id then return end
  local open = false
  for _, state in ipairs({ 'PENDING', 'STARTED', 'RETRY' }) do
    if redis.pcall('SETBIT', flow_states_key(flow, state), ordinal, 0) == 1 then open = true end
  end
  if not open then return end
  set_bit(flow, 'FAILURE', ordinal, 1)
  end_step({ flow = flow, step = step, item = item }, 'FAILURE', 'invalid_params')
end

local found = {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local fields = redis.pcall('HGETALL', run_key(id))
  if fields.err or redis.sha1hex(table.concat(fields, '\0')) == ARGV[i + 1] then
    found[#found + 1] = id
    local held = {}
    for j = 1, #fields, 2 do held[fields[j]] = fields[j + 1] end
    if ARGV[1] == '1' then
      remove(id, held.job or '')
      if held.flow then fail_step(id, held.flow, held.step, held.item, held.ordinal) end
    end
  end
end
return found
