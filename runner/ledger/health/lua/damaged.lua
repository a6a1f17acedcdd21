#!lua flags=allow-oom
-- Removes records that are damaged, each with its result, its log, and its places in the indexes. A record that was
-- written anew since it was looked at stays.
--
-- Keys: NS:run:ID, NS:log:ID, the result of each, and every index. No run changes its state.
--
-- ARGV: '1' to mend, then ids and digests of the records as they were seen
-- Returns those that are damaged still, or were removed
--
-- Uses: keys.

local function remove(id, job)
  for _, state in ipairs({ 'PENDING', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED' }) do
    redis.pcall('ZREM', state_key(state), id)
    redis.pcall('ZREM', job_key(job, state), id)
    redis.pcall('ZREM', step_state_key(state), id)
    redis.pcall('ZREM', step_job_key(job, state), id)
  end
  for _, index in ipairs({ IDS, PRUNABLE, EXPIRING, DELAYED, OVERRUNNING, FLOWS }) do redis.pcall('ZREM', index, id) end
  redis.pcall('HDEL', TERMINATING, id)
  redis.call('UNLINK', run_key(id), meta_key(id), log_key(id))
end

local found = {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local fields = redis.pcall('HGETALL', run_key(id))
  if fields.err or redis.sha1hex(table.concat(fields, '\0')) == ARGV[i + 1] then
    found[#found + 1] = id
    local job = ''
    for j = 1, #fields, 2 do
      if fields[j] == 'job' then job = fields[j + 1] end
    end
    if ARGV[1] == '1' then remove(id, job) end
  end
end
return found
