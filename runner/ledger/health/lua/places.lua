#!lua flags=allow-oom
-- Counts the messages of suspected runs in all possible locations, in one step; with '1', makes it exactly one.
--
-- Keys: the lists given, NS:claims, NS:delayed, NS:run:ID. A message is always in Redis, and each move is one step, so
-- a message that is not found here does not exist.
-- A run in PENDING or RETRY keeps its state and gets its message again. A run in STARTED without a claim has lost its
-- attempt, as in a sweep (RETRY, FAILURE or REVOKED), but it is redelivered one lease later, because its worker has
-- certainly noticed by then. A flow that has begun has neither a claim nor a message, and an approval has no claim.
--
-- Of a list that is longer than twice the edge, only `edge` messages from either end are read. The rest was read by the
-- last walk, moments ago; that is still valid if the newest message of that walk is within the left edge. A run is left
-- alone if that walk saw more of its messages than the edges show.
--
-- ARGV: '1' to repair, lease in ms, edge, number of lists, then for each list its key and the id of the newest message
--       of the last walk, then for each run its id, the number of its messages in that walk, and the message to write
--       ('' without repair)
-- Returns for each run: 'fine' | 'missing' | 'orphan' | 'duplicate' | 'unsure'
--
-- Uses: clock, keys, records, waiting, losses.

local mend, lease, edge, lists = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local GONE = 'removed by runner doctor'
local runs_from = 5 + 2 * lists

local found = {}        -- id -> the positions of its messages in the lists; the last one is delivered next
local claimed = {}      -- id -> the number of claims on its messages
for i = runs_from, #ARGV, 3 do found[ARGV[i]], claimed[ARGV[i]] = {}, 0 end
local partial = false    -- whether a list was too long to be read completely
local sure = redis.call('HLEN', CLAIMS) <= 2 * edge

local function walk(key, from, to, newest)
  local saw = false
  for at = from, to, 500 do
    local portion = redis.call('LRANGE', key, at, math.min(at + 499, to))
    for n, message in ipairs(portion) do
      local id = string.match(message, '"id"%s*:%s*"([^"]*)"')
      if id == newest then saw = true end
      if found[id] and string.find(message, '"runner"%s*:') then table.insert(found[id], { key = key, at = at + n - 1, message = message }) end
    end
  end
  return saw
end

for n = 0, lists - 1 do
  local key, newest = ARGV[5 + 2 * n], ARGV[6 + 2 * n]
  local length = redis.call('LLEN', key)
  if length <= 2 * edge then
    walk(key, 0, length - 1, newest)
  else
    local saw = walk(key, 0, edge - 1, newest)
    walk(key, length - edge, length - 1, newest)
    sure, partial = sure and saw, true
  end
end

if sure then
  local cursor = '0'
  local counted = {}
  repeat
    local page = redis.call('HSCAN', CLAIMS, cursor, 'COUNT', 200)
    cursor = page[1]
    for n = 1, #page[2], 2 do
      local line = string.match(page[2][n + 1], '^[^\n]*')
      local id = string.match(line, '"id"%s*:%s*"([^"]*)"')
      -- The claim of a plain client's message, which is about to be adopted, does not count for the run.
      local ours = string.find(line, '"ours":true', 1, true)
      if ours and claimed[id] and not counted[page[2][n]] then
        counted[page[2][n]] = true
        claimed[id] = claimed[id] + 1
      end
    end
  until cursor == '0'
end

local emptied = {}
local function take_out(places, from)
  for n = from, #places do
    redis.call('LSET', places[n].key, places[n].at, GONE)
    emptied[places[n].key] = true
  end
end
-- A push shifts the recorded positions, so all removals come first.
local later = {}

local function rewrite(run, message)
  local due = tonumber(run.state == 'RETRY' and run.retry_at or run.eta or '0') or 0
  if due > NOW then
    delay(run, due, message)
  else
    admit(run, run.queue, run.priority, message)
  end
end

local function lose_again(run, message)
  run.token = run.token or ''
  lose(run, message, cjson.encode({ at = NOW, worker = run.worker }))
  if run.state ~= 'RETRY' then return end
  local due = math.max(NOW + lease, tonumber(redis.call('ZSCORE', DELAYED, run.id) or '0'))
  redis.call('ZADD', DELAYED, due, run.id)
  redis.call('HSET', run_key(run.id), 'retry_at', due)
end

local function judge(id, seen, message)
  local run = load_run(id)
  if not run or FINAL[run.state] or run.approval then return 'fine' end
  local places = found[id]
  if partial and #places < seen then return 'unsure' end
  local delayed = is_aside(run)
  if run.state == 'STARTED' then
    if run.begun or run.token and redis.call('HEXISTS', CLAIMS, run.token) == 1 then
      if #places == 0 then return 'fine' end
      if mend then take_out(places, 1) end
      return 'duplicate'
    end
    -- There is another claim on the run: the worker that starts it will find that the former holder is gone.
    if claimed[id] > 0 then return 'fine' end
    if not sure then return 'unsure' end
    if mend then
      local kept = places[1] and places[1].message or message
      take_out(places, 1)
      later[#later + 1] = function() lose_again(run, kept) end
    end
    return 'orphan'
  end
  local count = #places + claimed[id] + (delayed and 1 or 0)
  if count == 1 then return 'fine' end
  if not sure then return 'unsure' end
  if count == 0 then
    if mend then
      if run.message then
        local kept = run.message
        redis.call('HDEL', run_key(id), 'message')
        later[#later + 1] = function() rewrite(run, kept) end
      else
        later[#later + 1] = function() rewrite(run, message) end
      end
    end
    return 'missing'
  end
  if #places == 0 then return 'fine' end
  if mend then
    local elsewhere = claimed[id] > 0 or delayed
    if elsewhere then
      take_out(places, 1)
    else
      local last = table.remove(places)
      take_out(places, 1)
      places[1] = last
    end
  end
  return 'duplicate'
end

local answer = {}
for i = runs_from, #ARGV, 3 do
  answer[#answer + 1] = judge(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2])
end
for key in pairs(emptied) do redis.call('LREM', key, 0, GONE) end
for _, step in ipairs(later) do step() end
return answer
