-- The outbox: the hooks to fire.
--
-- Uses: clock, keys.

local function entry(run, outcome) return run.id .. ' ' .. outcome .. ' ' .. (run.attempts or '0') end

-- Returns the entry for an event that happens once per run, independent of the attempt.
local function once(run, event) return run.id .. ' ' .. event .. ' 1' end

-- Returns whether a run may have hooks that fire before its end: its record then keeps `hooks`.
local function fires_early(run)
  return string.find(run.hooks, 'start', 1, true) or string.find(run.hooks, 'overrun', 1, true)
end

-- Adds the hooks of an outcome to the outbox. `hooks` names the outcomes that have hooks. also: another outcome that
-- this one includes; both have one entry.
local function fire(run, outcome, also)
  if run.hooks and (string.find(run.hooks, outcome, 1, true) or also and string.find(run.hooks, also, 1, true)) then
    redis.call('ZADD', OUTBOX, AT, entry(run, outcome))
  end
end
