-- The progress of a flow's steps, for the processes that advance the flow and for those that show it.
--
-- Uses: clock, keys, flows.

-- Returns the number of runs of a step in each state, in the order of STEP_STATES.
local function count_states(id, first, made)
  local found = {}
  for i = 1, #STEP_STATES do found[i] = 0 end
  -- Count the likely states first: most steps have one run.
  local left = made
  for _, i in ipairs({ 4, 1, 2, 3, 5, 6, 7, 8 }) do
    if left <= 0 then break end
    found[i] = count_bits(id, STEP_STATES[i], first, first + made - 1)
    left = left - found[i]
  end
  return found
end

-- Returns the hash of a flow as a flat list, and for each step that has runs its name and its counts.
local function read_steps(id)
  local fields, held, steps = redis.pcall('HGETALL', flow_key(id)), {}, {}
  if fields.err then fields = {} end
  for i = 1, #fields, 2 do held[fields[i]] = fields[i + 1] end
  for name, text in pairs(held) do
    local step = string.match(name, '^first:(.*)$')
    local first, made = whole(text), whole(held['made:' .. (step or '')])
    if step and first and made and first + made <= MOST_STEP_RUNS then
      steps[#steps + 1] = { step, unpack(count_states(id, first, made)) }
    end
  end
  return fields, steps
end

-- Returns whether a flow is active: it has begun and has not ended.
local function is_under_way(run) return run and run.state == 'STARTED' and run.begun end

-- Returns the reason why a flow must end although steps are left; '' if there is none.
local function why_stopping(run)
  if run.replaced then return 'replaced' end
  if run.terminate then return 'terminated' end
  local deadline = redis.pcall('HGET', flow_key(run.id), 'deadline')
  deadline = whole(deadline)
  if deadline and deadline <= NOW then return 'timeout' end
  return run.revocation and 'cancelled' or ''
end
