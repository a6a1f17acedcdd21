-- Which hooks are to be fired.
--
-- Uses: clock, keys.

local function entry(run, outcome) return run.id .. ' ' .. outcome .. ' ' .. (run.attempts or '0') end

-- Notes that the hooks of an outcome are to be fired. `hooks` names the outcomes that have any.
local function fire(run, outcome)
  if run.hooks and string.find(run.hooks, outcome, 1, true) then
    redis.call('ZADD', OUTBOX, AT, entry(run, outcome))
  end
end
