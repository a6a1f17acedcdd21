-- Where runs wait: for their time, the end of a pause, another job, a place in their backfill, their rate, or a
-- concurrency slot.
--
-- Uses: clock, keys, records, queues, pauses, rates, requires.

local function delay(run, due, message)
  run.message = message
  redis.call('HSET', run_key(run.id), 'message', message)
  redis.call('ZADD', DELAYED, due, run.id)
end

-- Sets a run aside: its message waits in its record, and its id in a set, until it may continue. `front`: ahead of the
-- runs that already wait there.
local function put_aside(run, key, message, detail, front)
  local at = front and 0 or -1
  local neighbor = redis.call('ZRANGE', key, at, at, 'WITHSCORES')
  local order = neighbor[2] and tonumber(neighbor[2]) + (front and -1 or 1) or 0
  redis.call('ZADD', key, order, run.id)
  run.message, run.aside, run.detail = message, key, detail
  redis.call('HSET', run_key(run.id), 'message', message, 'aside', key, 'detail', detail)
end

-- Takes the message out of the record of a run that continues.
local function pick_up(run)
  local message = run.message
  redis.call('HDEL', run_key(run.id), 'message', 'aside', 'detail')
  if run.aside then redis.call('ZREM', run.aside, run.id) end
  run.message, run.aside = nil, nil
  return message
end

-- Returns whether a waiting run has its message in its record, and is in a set from which it will continue.
local function is_aside(run)
  if not run.message then return false end
  return redis.call('ZSCORE', DELAYED, run.id) or run.aside and redis.call('ZSCORE', run.aside, run.id)
end

-- A run holds a concurrency slot from when its message enters a queue until the run ends.
local function limit_of(run)
  return tonumber(redis.call('HGET', LIMITS, run.group) or run.limit) or 1
end

local function holds_slot(run)
  return redis.call('ZSCORE', holders_key(run.group), run.id)
end

-- Keep the order of arrival, even within one millisecond.
local function hold_slot(group, id)
  local last = redis.call('ZRANGE', holders_key(group), -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', holders_key(group), math.max(NOW, last and tonumber(last) + 1 or 0), id)
end

local function take_slot(run)
  if holds_slot(run) then return true end
  if redis.call('ZCARD', holders_key(run.group)) >= limit_of(run) then return false end
  redis.call('HSETNX', LIMITS, run.group, run.limit)
  hold_slot(run.group, run.id)
  return true
end

-- The places of a backfill, and of a step of a flow, are slots of a separate group whose name no job can use. A run
-- holds a place from when its message first enters a queue until the run ends.
local function places_of(run)
  return run.backfill and '@' .. run.backfill or '@flow ' .. (run.flow or '') .. ' ' .. (run.step or '')
end

local function take_place(run)
  local group = places_of(run)
  if redis.call('ZSCORE', holders_key(group), run.id) then return true end
  local limit = tonumber(redis.call('HGET', LIMITS, group) or run.at_once) or 1
  redis.call('HSETNX', LIMITS, group, limit)
  if redis.call('ZCARD', holders_key(group)) >= limit then return false end
  hold_slot(group, run.id)
  return true
end

local has_places

-- Gives free slots to waiting runs, in their order. A run that gets a place in its backfill may still have to wait for
-- its rate or a concurrency slot.
local function promote(group)
  local limit = tonumber(redis.call('HGET', LIMITS, group) or '0')
  while redis.call('ZCARD', holders_key(group)) < limit do
    local id = redis.call('ZPOPMIN', waiting_key(group))[1]
    if not id then break end
    local run = load_run(id)
    if run and run.message and not FINAL[run.state] then
      hold_slot(group, id)
      local message = pick_up(run)
      if run.group == group or has_places(run, message) then enqueue(run.queue, run.priority, message) end
    end
  end
  if redis.call('EXISTS', holders_key(group), waiting_key(group)) == 0 then redis.call('HDEL', LIMITS, group) end
end

local function leave_slot(run)
  if run.group and redis.call('ZREM', holders_key(run.group), run.id) == 1 then promote(run.group) end
end

-- Releases the pass and the slot of a run that has ended or must wait, for other runs.
local function leave_places(run)
  if run.rate then leave_pass(run) end
  leave_slot(run)
end

local function leave_turn(run)
  local group = places_of(run)
  if run.at_once and redis.call('ZREM', holders_key(group), run.id) == 1 then promote(group) end
end

-- Counts a run of a backfill that ends, and gives its place to the next one.
local function leave_backfill(run, state)
  local key = backfill_key(run.backfill)
  if redis.call('EXISTS', key) == 1 then redis.pcall('HINCRBY', key, state, 1) end
  leave_turn(run)
end

local function park(run, message, front)
  put_aside(run, parked_key(run.job), message, 'the job is paused', front)
  redis.call('SADD', PARKED, run.job)
  leave_places(run)
end

local function wait_for_slot(run, message, front)
  redis.call('HSETNX', LIMITS, run.group, run.limit)
  put_aside(run, waiting_key(run.group), message, 'waiting for a concurrency slot', front)
end

-- Sets aside a run that was never started, if a job that it requires has not succeeded in time; returns whether it did.
local function held_back(run, message, front)
  if not run.requires or run.state ~= 'PENDING' then return false end
  local job, within = missing_success(run)
  if not job then return false end
  put_aside(run, requiring_key(job, within), message, 'waiting for job ' .. job .. ' to succeed', front)
  redis.call('SADD', REQUIRED, job .. ':' .. within)
  leave_places(run)
  return true
end

local function wait_for_rate(run, message, front)
  put_aside(run, rated_key(rate_of(run)), message, 'waiting for its rate limit', front)
  expect_pass(run, next_pass(run))
end

-- Returns whether a run may continue, by its required jobs, its rate, and its concurrency; if not, it is set aside. A
-- run that waits for a slot keeps its pass, because it is the next one to start anyway.
function has_places(run, message, front)
  if held_back(run, message, front) then return false end
  if run.rate and not take_pass(run, front) then
    wait_for_rate(run, message, front)
    return false
  end
  if run.group and not take_slot(run) then
    wait_for_slot(run, message, front)
    return false
  end
  return true
end

-- Does the same for a run that is about to start.
local function may_start(run, message)
  if not has_places(run, message, true) then return false end
  if run.rate then spend_pass(run) end
  return true
end

-- Puts the message of a run into a queue, or sets the run aside if its job is paused or it must wait for others.
local function admit(run, queue, priority, message, front)
  local first = front or run.state == 'RETRY'
  if pause_of(run) then return park(run, message, first) end
  if run.at_once and not take_place(run) then
    local whose = run.backfill and 'a backfill' or 'its step'
    return put_aside(run, waiting_key(places_of(run)), message, 'waiting for its turn in ' .. whose, first)
  end
  if not has_places(run, message, first) then return end
  enqueue(queue, priority, message, front)
end
