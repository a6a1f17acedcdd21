-- From which state a run may go to which.
--
-- Uses: clock, keys, records.

local ORIGINS = {
  STARTED = { PENDING = true, RETRY = true },
  RETRY = { STARTED = true },
  SUCCESS = { STARTED = true },
  FAILURE = { PENDING = true, STARTED = true, RETRY = true },
  REVOKED = { PENDING = true, STARTED = true, RETRY = true },
}

local PAST_ATTEMPTS = 20        -- that a record keeps, the last ones
local PAST_ERROR = 300          -- bytes of the error of each

-- Notes an attempt that is over while its run goes on. how: retry, lost or handed_back; failure: its error as JSON.
local function note_attempt(run, how, failure)
  local past = run.past and cjson.decode(run.past) or {}
  local told
  if failure then
    local held = cjson.decode(failure)
    told = held.type .. ': ' .. held.message
    if #told > PAST_ERROR then
      local last = PAST_ERROR
      -- Not within a character.
      while last > 0 and told:byte(last + 1) >= 128 and told:byte(last + 1) < 192 do last = last - 1 end
      told = told:sub(1, last) .. '…'
    end
  end
  past[#past + 1] = { attempt = tonumber(run.attempts), worker = run.worker, started_at = tonumber(run.started_at),
    ended_at = NOW, outcome = how, error = told }
  if #past > PAST_ATTEMPTS then table.remove(past, 1) end
  redis.call('HSET', run_key(run.id), 'past', cjson.encode(past))
end

-- Moves a run to another state. The caller has checked who may; this checks where from.
local function enter(run, state)
  if not ORIGINS[state][run.state] then
    error('run ' .. run.id .. ' cannot go from ' .. run.state .. ' to ' .. state)
  end
  unindex(run)
  index(run, state)
  run.state = state
end
