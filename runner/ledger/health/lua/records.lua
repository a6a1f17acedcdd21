#!lua flags=allow-oom
-- Checks a portion of the records for missing index entries; with '1', adds them.
--
-- Keys: NS:run:ID, every index, and the results of runs. No run changes its state.
--
-- ARGV: '1' to repair, ids
-- Returns for each id {id, state, queue, priority, location, fault, …}. Locations: 'delayed' (its message waits in its
-- record), 'held' (STARTED with a claim, or a flow that has begun), 'queue' (its message must be in a queue or a
-- claim), '' (final, or an approval). Faults: suspect (its record may be damaged), ids, state, job, expiring, prunable,
-- terminating, flows (a flow that the beat does not check), bit (a step run's bit in its flow), message. An id without
-- a record is left out.
--
-- Uses: clock, keys, records, waiting, flows.

local fix = ARGV[1] == '1'
local answer = {}

-- Returns the table in a JSON field; nil if it has none.
local function decoded(text)
  local sound, value = pcall(cjson.decode, text)
  return sound and type(value) == 'table' and value or nil
end

local function look(run, key)
  local faults = {}
  local function lacks(name, index, member, score)
    if redis.call('ZSCORE', index, member) then return end
    faults[#faults + 1] = name
    if fix then redis.call('ZADD', index, score, member) end
  end
  lacks('ids', IDS, run.id, 0)
  lacks('state', state_index(run, run.state), run.id, run.submitted_at)
  lacks('job', job_index(run, run.state), run.id, run.submitted_at)
  local ordinal = run.flow and whole(run.ordinal)
  if ordinal and ordinal < MOST_STEP_RUNS and redis.call('EXISTS', flow_key(run.flow)) == 1 then
    local state = step_state(run.state, run.reason)
    if count_bits(run.flow, state, ordinal, ordinal) == 0 then
      faults[#faults + 1] = 'bit'
      if fix then
        for _, other in ipairs(STEP_STATES) do set_bit(run.flow, other, ordinal, other == state and 1 or 0) end
        wake_flow(run.flow)
      end
    end
  end
  local place = ''
  if FINAL[run.state] then
    local ended = (tonumber(run.finished_at) or NOW)
    if not run.flow and not redis.call('ZSCORE', ARCHIVED, run.id) then lacks('prunable', PRUNABLE, run.id, ended + tonumber(run.keep_history or KEEP_HISTORY)) end
    if run.message then
      faults[#faults + 1] = 'message'
      if fix then redis.call('HDEL', key, 'message') end
    end
  elseif run.state == 'STARTED' and run.begun then
    place = 'held'
    lacks('flows', FLOWS, run.id, NOW)
  elseif run.state == 'STARTED' then
    place = run.token and redis.call('HEXISTS', CLAIMS, run.token) == 1 and 'held' or 'queue'
    if run.terminate and not run.graph and redis.call('HEXISTS', TERMINATING, run.id) == 0 then
      faults[#faults + 1] = 'terminating'
      if fix then redis.call('HSET', TERMINATING, run.id, run.terminate) end
    end
  else
    if run.expires_at then lacks('expiring', EXPIRING, run.id, run.expires_at) end
    place = run.approval and '' or is_aside(run) and 'delayed' or 'queue'
  end
  return place, faults
end

-- Returns whether a value parsed from JSON contains a number that JSON does not have.
local function odd(value)
  if type(value) == 'number' then return value ~= value or value == math.huge or value == -math.huge end
  if type(value) ~= 'table' then return false end
  for _, each in pairs(value) do
    if odd(each) then return true end
  end
  return false
end

-- Returns whether runner/ledger/record.py may reject JSON text that cjson accepts: cjson also accepts control
-- characters, 0x10, 01, +1, and 1., integers of any length, and deeply nested values.
local function lax(text)
  if string.find(text, '%c') or string.find(text, '[:,%[]%s*%+') or string.find(text, '[:,%[]%s*-?0%w')
    or string.find(text, '%d%.%D') or string.find(text, string.rep('%d', 60)) then
    return true
  end
  local _, openings = string.gsub(text, '[%[{]', '')
  return openings > 500
end

-- Returns whether a record may be damaged; runner/ledger/record.py decides. Rare fields are always left to it.
local function suspect(run, raw)
  for _, name in ipairs({ 'submitted_at', 'priority' }) do
    if (raw[name] or '') == '' then return true end
  end
  mend(run)
  for name, text in pairs(raw) do
    if text ~= '' and run[name] ~= text then return true end
  end
  local queue, digest = raw.queue or '', raw.spec_digest or ''
  if #run.id > 128 or not string.match(run.id, '^%w[%w._:-]*$') or #run.job > 129 or #queue > 64
    or not string.match(run.job, '^[a-z0-9][a-z0-9._/-]*$') or not string.match(run.job, '[a-z0-9]$')
    or not string.match(queue, '^%w[%w._-]*$') or not string.match(queue, '%w$')
    or not string.match(digest, '^[%w:_-]*$') then
    return true
  end
  -- This includes unusual fields of a step run.
  if raw.graph or raw.deaths or raw.past or raw.progress or raw.revocation or #run.job > 64 then return true end
  for _, name in ipairs({ 'params', 'tags', 'error' }) do
    local text = raw[name] or ''
    if text ~= '' and (name == 'error' or text ~= '{}') and (name ~= 'tags' or text ~= '[]') then
      local value = decoded(text)
      if not value or odd(value) or lax(text) or string.sub(text, 1, 1) ~= (name == 'tags' and '[' or '{') then
        return true
      end
      for _, each in ipairs(name == 'tags' and value or {}) do
        if type(each) ~= 'string' then return true end
      end
      if name == 'error' then
        local traceback = value.traceback == nil or value.traceback == cjson.null or type(value.traceback) == 'string'
        if not traceback or type(value.type) ~= 'string' or value.type == '' or type(value.message) ~= 'string' then
          return true
        end
      end
    end
  end
  if run.state ~= 'SUCCESS' then return false end
  local length = redis.pcall('STRLEN', meta_key(run.id))
  if type(length) ~= 'number' then return true end
  if length == 0 then return false end
  if length > 16384 then
    -- Reading a large result completely would block Redis.
    return redis.call('GETRANGE', meta_key(run.id), 0, 0) ~= '{' or redis.call('GETRANGE', meta_key(run.id), -1, -1) ~= '}'
  end
  local text = redis.call('GET', meta_key(run.id))
  local meta = decoded(text)
  return not meta or meta.result == nil or odd(meta) or lax(text)
end

for i = 2, #ARGV do
  local id = ARGV[i]
  local key = run_key(id)
  local fields = redis.pcall('HGETALL', key)
  local run = not fields.err and load_run(id, fields)
  if run then
    local raw = {}
    for j = 1, #fields, 2 do raw[fields[j]] = fields[j + 1] end
    local place, faults = look(run, key)
    if suspect(run, raw) then faults[#faults + 1] = 'suspect' end
    answer[#answer + 1] = { id, run.state, run.queue or '', run.priority or '', place, unpack(faults) }
  elseif fields.err or #fields > 0 then
    answer[#answer + 1] = { id, '', '', '', '', 'suspect' }
  end
end
return answer
