-- The earlier attempts of an active run, in the field `past` of its record.
--
-- Uses: clock, keys.

local PAST_ATTEMPTS = 20        -- kept in a record, the last ones
local PAST_ERROR = 300          -- bytes of each error

-- Records an attempt that is over while its run continues. how: retry, lost or handed_back; failure: its error as JSON.
local function note_attempt(run, how, failure)
  local sound, past = pcall(cjson.decode, run.past or '[]')
  if not sound or type(past) ~= 'table' then past = {} end
  local told
  if failure then
    local held = cjson.decode(failure)
    told = held.type .. ': ' .. held.message
    if #told > PAST_ERROR then
      local last = PAST_ERROR
      -- Do not cut within a character.
      while last > 0 and told:byte(last + 1) >= 128 and told:byte(last + 1) < 192 do last = last - 1 end
      told = told:sub(1, last) .. '…'
    end
  end
  past[#past + 1] = { attempt = tonumber(run.attempts or 1), worker = run.worker, started_at = tonumber(run.started_at or NOW),
    ended_at = NOW, outcome = how, error = told }
  if #past > PAST_ATTEMPTS then table.remove(past, 1) end
  redis.call('HSET', run_key(run.id), 'past', cjson.encode(past))
end
