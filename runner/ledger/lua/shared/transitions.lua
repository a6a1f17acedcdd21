-- From which state a run may go to which.
--
-- Uses: records.

local ORIGINS = {
  STARTED = { PENDING = true, RETRY = true },
  RETRY = { STARTED = true },
  SUCCESS = { STARTED = true },
  FAILURE = { PENDING = true, STARTED = true, RETRY = true },
  REVOKED = { PENDING = true, STARTED = true, RETRY = true },
}

-- Moves a run to another state. The caller has checked who may; this checks where from.
local function enter(run, state)
  if not ORIGINS[state][run.state] then
    error('run ' .. run.id .. ' cannot go from ' .. run.state .. ' to ' .. state)
  end
  unindex(run)
  index(run, state)
  run.state = state
end
