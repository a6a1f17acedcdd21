-- Returns what a run waits for, or which worker holds it. Changes nothing.
--
-- Keys: NS:run:ID, NS:delayed, NS:paused, NS:holders:GROUP, NS:starts:GROUP, NS:passes:GROUP, the set into which the
-- run was set aside, NS:claims, NS:leases, and the lists NS:queue:Q:P of the run's queue. The number of messages and
-- claims that are read is limited.
--
-- ARGV: id, maximum number of messages and claims to read
-- Returns facts as name, value, …: now; due (ms, in the delayed set); ahead (messages before its own in its list),
-- higher (messages in lists served first), behind (only if its message was not found: number of unread messages);
-- holder and lease (ms of its end) of the claim on it; refused_since; detail (from the record); paused (if its job is);
-- before (number of runs that were set aside before it); holders (JSON, of the slots it waits for; up to ten); required
-- (a job), required_within (ms), and succeeded (ms, its last success), if it waits for that; rate_limit and rate_per
-- (ms), if it waits for its rate, and rate_free (ms, before which it cannot start)
--
-- Uses: clock, keys, records, pauses, rates.

local id, look = ARGV[1], tonumber(ARGV[2])
local facts = { 'now', tostring(NOW) }
local function tell(name, value)
  facts[#facts + 1] = name
  facts[#facts + 1] = tostring(value)
end

local run = load_run(id)
if not run or FINAL[run.state] then return facts end
if run.refused_since then tell('refused_since', run.refused_since) end
if run.detail then tell('detail', run.detail) end

-- Returns the earliest time at which a run may start if ``before`` runs of its group wait before it.
local function pass_of(waits, before)
  local group, limit, per = rate_of(waits)
  local free = {}
  for _ = 1, redis.call('ZCARD', passes_key(group)) do free[#free + 1] = NOW + per end
  for _, at in ipairs(redis.call('LRANGE', starts_key(group), -limit, -1)) do
    free[#free + 1] = math.max(NOW, math.min(NOW, tonumber(at)) + per)
  end
  for _ = #free + 1, limit do free[#free + 1] = NOW end
  table.sort(free)
  return free[before % limit + 1] + math.floor(before / limit) * per
end

local function tell_claim(token, worker)
  tell('holder', worker)
  tell('lease', redis.call('ZSCORE', LEASES, token) or '0')
end

if run.state == 'STARTED' then
  if run.token then tell_claim(run.token, run.worker or '') end
  return facts
end

if pause_of(run) then tell('paused', 1) end
local place = run.aside and redis.call('ZRANK', run.aside, id)
if place then
  tell('before', place)
  local waits = waiting_key('')
  if string.sub(run.aside, 1, #waits) == waits then
    tell('holders', cjson.encode(redis.call('ZRANGE', holders_key(string.sub(run.aside, #waits + 1)), 0, 9)))
  end
  local job, within = string.match(run.aside, ':requiring:(.*):(%d+)$')
  if job then
    tell('required', job)
    tell('required_within', within)
    tell('succeeded', redis.call('HGET', SUCCEEDED, job) or '')
    return facts
  end
  if run.rate and run.aside == rated_key(rate_of(run)) then
    local _, limit, per = rate_of(run)
    tell('rate_limit', limit)
    tell('rate_per', per)
    tell('rate_free', pass_of(run, place))
  end
  return facts
end

local due = redis.call('ZSCORE', DELAYED, id)
if due then
  tell('due', due)
  return facts
end

local higher = 0
for priority = 9, tonumber(run.priority) + 1, -1 do
  higher = higher + redis.call('LLEN', queue_key(run.queue, priority))
end
local key = queue_key(run.queue, run.priority)
local length, seen = redis.call('LLEN', key), 0
while seen < length and seen < look do
  local messages = redis.call('LRANGE', key, -seen - 100, -seen - 1)
  for i = #messages, 1, -1 do
    if string.find(messages[i], '"' .. id .. '"', 1, true) then
      tell('ahead', seen + #messages - i)
      tell('higher', higher)
      return facts
    end
  end
  seen = seen + math.max(#messages, 1)
end

local cursor, claims = '0', 0
repeat
  local page = redis.call('HSCAN', CLAIMS, cursor, 'COUNT', 100)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    claims = claims + 1
    local head = string.match(page[2][i + 1], '^[^\n]*')
    if string.find(head, '"' .. id .. '"', 1, true) then
      tell_claim(page[2][i], cjson.decode(head).worker or '')
      return facts
    end
  end
until cursor == '0' or claims >= look
tell('higher', higher)
tell('behind', math.max(0, length - seen) + (cursor == '0' and 0 or 1))
return facts
