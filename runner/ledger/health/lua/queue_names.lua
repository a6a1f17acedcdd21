#!lua flags=allow-oom
-- Checks a portion of the queue names; with '1', removes those of empty queues without a consumer.
--
-- A short queue that has only messages of ended runs counts as empty: a taker would only drop them.
--
-- Keys: NS:queues, NS:queue:NAME:PRIORITY, NS:run:ID, NS:ring:NAME, and Kombu's keys for a queue with a consumer:
-- NS:binding:NAME, NS:binding-permanent:NAME. No run changes its state. The next message adds the name again.
--
-- ARGV: '1' to repair, names of queues from which no live worker takes
-- Returns the names of the empty queues
--
-- Uses: keys.

local SHORT = 100
local FINAL = { SUCCESS = true, FAILURE = true, REVOKED = true }

local function has_ended(message)
  local ok, read = pcall(cjson.decode, message)
  local id = ok and type(read) == 'table' and type(read.headers) == 'table' and read.headers.id
  return type(id) == 'string' and FINAL[redis.pcall('HGET', run_key(id), 'state')]
end

local function is_empty(name)
  local lists, waiting = {}, 0
  for priority = 0, 9 do
    lists[priority] = queue_key(name, priority)
    waiting = waiting + redis.call('LLEN', lists[priority])
  end
  if waiting > SHORT then return false end
  for priority = 0, 9 do
    for _, message in ipairs(redis.call('LRANGE', lists[priority], 0, -1)) do
      if not has_ended(message) then return false end
    end
  end
  return true
end

local found = {}
for i = 2, #ARGV do
  if is_empty(ARGV[i]) then
    found[#found + 1] = ARGV[i]
    if ARGV[1] == '1' then
      for priority = 0, 9 do redis.call('DEL', queue_key(ARGV[i], priority)) end
      redis.call('SREM', QUEUES, ARGV[i])
      redis.call('DEL', ring_key(ARGV[i]), binding_key(ARGV[i]), permanent_binding_key(ARGV[i]))
    end
  end
end
return found
