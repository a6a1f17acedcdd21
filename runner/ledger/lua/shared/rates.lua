-- Rate limits: at most `limit` runs of a group start in any window of `per` ms.
--
-- NS:starts:GROUP has the times of the last `limit` starts. A run takes a pass (NS:passes:GROUP) when it enters a
-- queue, and the pass becomes a start when the run starts. The passes and the starts within `per` together are never
-- more than `limit`. Runs without a pass wait in NS:rated:GROUP. NS:rates has the groups with such runs, by the time at
-- which the next one may get a pass: the beat checks them at that time.
--
-- Uses: clock, keys.

-- Returns the group of a run, the maximum number of starts, and the window in ms.
local function rate_of(run)
  local limit, per = string.match(run.rate, '^(%d+) (%d+)$')
  return run.rate_group or run.job, tonumber(limit) or 1, tonumber(per) or 1000
end

-- Returns the time from which a pass is free: not later than NOW if one is free now.
local function next_pass(run)
  local group, limit, per = rate_of(run)
  local free = limit - redis.call('ZCARD', passes_key(group))
  if free < 1 then return NOW + per end
  local key = starts_key(group)
  local start = tonumber(redis.call('LINDEX', key, -free) or '')
  if not start then return 0 end
  if start > NOW then
    -- The clock of the server was set back: treat those starts as if they were now.
    for i, at in ipairs(redis.call('LRANGE', key, 0, -1)) do
      if tonumber(at) > NOW then redis.call('LSET', key, i - 1, AT) end
    end
    start = NOW
  end
  -- Times are whole ms, rounded down. Add 1 ms so that no closed window of `per` contains both starts.
  return start + per + 1
end

local function hold_pass(run)
  redis.call('ZADD', passes_key(rate_of(run)), NOW, run.id)
end

-- first: ahead of the waiting runs.
local function take_pass(run, first)
  local group = rate_of(run)
  if redis.call('ZSCORE', passes_key(group), run.id) then return true end
  if not first and redis.call('EXISTS', rated_key(group)) == 1 then return false end
  if next_pass(run) > NOW then return false end
  hold_pass(run)
  return true
end

-- Schedules a beat for a group with waiting runs.
local function expect_pass(run, at)
  local group = rate_of(run)
  if redis.call('EXISTS', rated_key(group)) == 1 then redis.call('ZADD', RATES, 'LT', at, group) end
end

local function leave_pass(run)
  local group = rate_of(run)
  if redis.call('ZREM', passes_key(group), run.id) == 1 then expect_pass(run, NOW) end
end

local function spend_pass(run)
  local group, limit, per = rate_of(run)
  local key = starts_key(group)
  redis.call('ZREM', passes_key(group), run.id)
  redis.call('RPUSH', key, AT)
  redis.call('LTRIM', key, -limit, -1)
  redis.call('PEXPIRE', key, per + 1000)
  expect_pass(run, next_pass(run))
end
