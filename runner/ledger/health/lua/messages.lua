#!lua flags=allow-oom
-- Checks a portion of a queue; with '1', removes the messages that every worker would drop.
--
-- Keys: the list given, NS:run:ID of each message, NS:delayed. No run changes its state. It reads from the left end
-- (the newest message) to the right. Messages leave a queue at the right, so the walk never skips one that stays.
--
-- ARGV: '1' to repair, the list's key, first index, last index
-- Returns {number of messages read, number removed, id, type, …}. Types: the state of the run if it is not final,
-- 'delayed' (a waiting run whose message is also in the delayed set), 'final', 'unknown' (a message of the runner
-- without a record), 'foreign' (not a message of the runner), 'unreadable'
--
-- Uses: keys, records.

local mend, key = ARGV[1] == '1', ARGV[2]
local GONE = 'removed by runner doctor'
local first, removed = tonumber(ARGV[3]), 0
local messages = redis.call('LRANGE', key, first, ARGV[4])
local answer = { #messages, 0 }

for i, message in ipairs(messages) do
  local sound, envelope = pcall(cjson.decode, message)
  local headers = sound and type(envelope) == 'table' and envelope.headers
  local id, kind = '', 'unreadable'
  if type(headers) == 'table' then
    id = type(headers.id) == 'string' and headers.id or ''
    if not headers.runner or id == '' then
      kind = 'foreign'
    else
      local state, aside = unpack(redis.call('HMGET', run_key(id), 'state', 'aside'))
      kind = state or 'unknown'
      if FINAL[state] then kind = 'final' end
      local delayed = redis.call('ZSCORE', DELAYED, id) or aside and redis.call('ZSCORE', aside, id)
      if (state == 'PENDING' or state == 'RETRY') and delayed then kind = 'delayed' end
    end
  end
  if mend and (kind == 'final' or kind == 'unknown') then
    redis.call('LSET', key, first + i - 1, GONE)
    removed = removed + 1
  end
  answer[#answer + 1] = id
  answer[#answer + 1] = kind
end
if removed > 0 then redis.call('LREM', key, 0, GONE) end
answer[2] = removed
return answer
