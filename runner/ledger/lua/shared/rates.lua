-- How many runs of a group may start within a time: at most `limit` starts in any `per` ms, whatever window one looks at.
--
-- NS:starts:GROUP has the times of the last `limit` starts. A run takes a pass (NS:passes:GROUP) when it comes to a
-- queue, and the pass becomes a start when the run starts. Passes, and starts within `per`, are never more than `limit`
-- together. Runs without a pass wait in NS:rated:GROUP. NS:rates has the groups with such runs, by the time at which the
-- next one may have a pass: the beat then comes back to them.
--
-- Uses: clock, keys.

-- The group of a run, how many of it may start, and within how many ms.
local function rate_of(run)
  local limit, per = string.match(run.rate, '^(%d+) (%d+)$')
  return run.rate_group or run.job, tonumber(limit) or 1, tonumber(per) or 1000
end

-- The time from which there is a pass: not later than NOW if there is one.
local function next_pass(run)
  local group, limit, per = rate_of(run)
  local free = limit - redis.call('ZCARD', passes_key(group))
  if free < 1 then return NOW + per end
  local key = starts_key(group)
  local start = tonumber(redis.call('LINDEX', key, -free) or '')
  if not start then return 0 end
  if start > NOW then
    -- This server's clock was set back: those starts count as if they were now.
    for i, at in ipairs(redis.call('LRANGE', key, 0, -1)) do
      if tonumber(at) > NOW then redis.call('LSET', key, i - 1, AT) end
    end
    start = NOW
  end
  -- Times are whole ms, rounded down: one more, and no closed window of `per` has both starts.
  return start + per + 1
end

local function hold_pass(run)
  redis.call('ZADD', passes_key(rate_of(run)), NOW, run.id)
end

-- first: ahead of those that wait.
local function take_pass(run, first)
  local group = rate_of(run)
  if redis.call('ZSCORE', passes_key(group), run.id) then return true end
  if not first and redis.call('EXISTS', rated_key(group)) == 1 then return false end
  if next_pass(run) > NOW then return false end
  hold_pass(run)
  return true
end

-- Has the beat come back to a group of which runs wait.
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
