-- Searches an index for matching runs, in order of submission. No run changes its state.
--
-- Keys: NS:state:STATE, or with a job NS:job:JOB:STATE; for step runs also NS:step-state:STATE or
-- NS:step-job:JOB:STATE; for a flow only NS:flow-runs:ID, in its own order. NS:run:ID of each run that is compared with
-- a condition. The number of runs read in one call is limited to keep the call short; the caller continues from the
-- returned position.
--
-- ARGV: 'newest' | 'oldest' (which come first), first and last ms of submission ('-inf', '+inf'), ms and id of the run
--       after which to continue ('' for none), maximum number of runs to find, maximum number to read, job ('' for
--       any), states separated by commas, '1' to return the duration of each, flow ('' for none), '1' for step runs
--       too, then conditions as field, text, …. In a flow, a position is an ordinal instead of ms.
-- Returns {found as id, duration in ms | '', …; ms and id of the last run read | ''; number of runs read; 1 if none are
-- left}
--
-- Uses: keys.

local newest = ARGV[1] == 'newest'
local low, high, at, after = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local most, look, job, timed = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[10] == '1'
local flow, steps = ARGV[11], ARGV[12] == '1'

local names, wanted = {}, {}
for i = 13, #ARGV, 2 do
  names[#names + 1] = ARGV[i]
  wanted[#wanted + 1] = ARGV[i + 1]
end

-- Compare bytes, as Redis does: `<` depends on the server's locale.
local function compare(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x - y end
  end
  return #a - #b
end

local function comes_before(a_at, a_id, b_at, b_id)
  local order = a_at ~= b_at and a_at - b_at or compare(a_id, b_id)
  if newest then return order > 0 end
  return order < 0
end

local fits = {
  tags = function(held, text) return string.find(held, text, 1, true) end,
  error = function(held, texts)
    if texts == '' then return true end
    held = string.lower(held)
    for text in string.gmatch(texts, '[^\n]+') do
      if string.find(held, text, 1, true) then return true end
    end
    return false
  end,
  worker = function(held, text) return held == text or string.match(held, '@(.*)$') == text end,
}

-- The list of a flow's step runs is not an index of states or jobs.
local function fits_in_flow(id)
  local held = redis.pcall('HMGET', run_key(id), 'state', 'job', 'submitted_at')
  if held.err or not held[1] or not string.find(',' .. ARGV[9] .. ',', ',' .. held[1] .. ',', 1, true) then return false end
  local submitted = tonumber(held[3] or '') or 0
  return (job == '' or held[2] == job)
    and (low == '-inf' or submitted >= tonumber(low)) and (high == '+inf' or submitted <= tonumber(high))
end

local function satisfies(id)
  if flow ~= '' and not fits_in_flow(id) then return false end
  if #names == 0 then return true end
  local held = redis.pcall('HMGET', run_key(id), unpack(names))
  if held.err then return false end
  for i, name in ipairs(names) do
    if not held[i] then return false end
    local test = fits[name]
    if test and not test(held[i], wanted[i]) or not test and held[i] ~= wanted[i] then return false end
  end
  return true
end

local function took(id)
  if not timed then return '' end
  local held = redis.pcall('HMGET', run_key(id), 'started_at', 'finished_at')
  local started, finished = tonumber(held[1] or ''), tonumber(held[2] or '')
  return started and finished and tostring(finished - started) or ''
end

local lists = {}
local function look_through(key)
  local from, to, count = newest and high or low, newest and low or high, look
  if at ~= '' then
    from = at
    -- Runs of the same millisecond that were already read come again.
    count = count + redis.call('ZCOUNT', key, at, at)
  end
  local entries
  if newest then
    entries = redis.call('ZRANGE', key, from, to, 'BYSCORE', 'REV', 'LIMIT', 0, count, 'WITHSCORES')
  else
    entries = redis.call('ZRANGE', key, from, to, 'BYSCORE', 'LIMIT', 0, count, 'WITHSCORES')
  end
  local place = 1
  while at ~= '' and entries[place]
    and not comes_before(tonumber(at), after, tonumber(entries[place + 1]), entries[place]) do
    place = place + 2
  end
  lists[#lists + 1] = { entries = entries, place = place, whole = #entries < 2 * count }
end

local function look_through_flow()
  local key, entries = flow_runs_key(flow), {}
  local length = redis.call('LLEN', key)
  local first = newest and math.max(0, (tonumber(at) or length) - look) or (tonumber(at) or -1) + 1
  local last = newest and (tonumber(at) or length) - 1 or first + look - 1
  local ids = last >= first and redis.call('LRANGE', key, first, last) or {}
  for i = 1, #ids do
    local place = newest and #ids + 1 - i or i
    entries[2 * i - 1], entries[2 * i] = ids[place], tostring(first + place - 1)
  end
  lists[1] = { entries = entries, place = 1, whole = newest and first == 0 or last >= length - 1 }
end

if flow ~= '' then
  look_through_flow()
else
  for state in string.gmatch(ARGV[9], '[^,]+') do
    look_through(job ~= '' and job_key(job, state) or state_key(state))
    if steps then look_through(job ~= '' and step_job_key(job, state) or step_state_key(state)) end
  end
end

local found, looked, last_at, last_id, none_left = {}, 0, at, after, 0
while #found < 2 * most and looked < look do
  local best, best_at, best_id
  for _, list in ipairs(lists) do
    local id, submitted = list.entries[list.place], tonumber(list.entries[list.place + 1])
    if id and (not best or comes_before(submitted, id, best_at, best_id)) then
      best, best_at, best_id = list, submitted, id
    end
  end
  if not best then
    none_left = 1
    break
  end
  last_at, last_id = best.entries[best.place + 1], best_id
  best.place = best.place + 2
  looked = looked + 1
  if satisfies(best_id) then
    found[#found + 1] = best_id
    found[#found + 1] = took(best_id)
  end
end
if none_left == 0 then
  -- A full page may have been the last one.
  local rest = 0
  for _, list in ipairs(lists) do
    if list.entries[list.place] or not list.whole then rest = 1 end
  end
  none_left = 1 - rest
end
return { found, last_at, last_id, looked, none_left }
