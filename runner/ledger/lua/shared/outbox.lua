-- Which hooks are to be fired.
--
-- Uses: clock, keys.

local function entry(run, outcome) return run.id .. ' ' .. outcome .. ' ' .. (run.attempts or '0') end

-- The entry of what happens once in a run, whatever the attempt.
local function once(run, event) return run.id .. ' ' .. event .. ' 1' end

-- Whether hooks may be due that are not those of the run's end: its record then says so to the end.
local function fires_early(run)
  return string.find(run.hooks, 'start', 1, true) or string.find(run.hooks, 'overrun', 1, true)
end

-- Notes that the hooks of an outcome are to be fired. `hooks` names the outcomes that have any. also: another outcome
-- that this one is as well; both have one entry.
local function fire(run, outcome, also)
  if run.hooks and (string.find(run.hooks, outcome, 1, true) or also and string.find(run.hooks, also, 1, true)) then
    redis.call('ZADD', OUTBOX, AT, entry(run, outcome))
  end
end
