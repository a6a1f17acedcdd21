-- The allowed changes of a run's state.
--
-- Uses: records.
-- Seldom: overruns (watch_overrun), flows (move_step).

local ORIGINS = {
  STARTED = 'PENDING RETRY',
  RETRY = 'STARTED',
  SUCCESS = 'STARTED',
  FAILURE = 'PENDING STARTED RETRY',
  REVOKED = 'PENDING STARTED RETRY',
}

-- Changes the state of a run. The caller has checked the token; this checks the old state. reason: why, if it ends.
local function enter(run, state, reason)
  if not string.find(ORIGINS[state], run.state, 1, true) then
    error('run ' .. run.id .. ' cannot go from ' .. run.state .. ' to ' .. state)
  end
  if run.overrun then watch_overrun(run, state) end
  if run.flow then move_step(run, state, reason) end
  unindex(run)
  index(run, state)
  run.state = state
end
