-- Removes the ended runs that the rules in retention.lua no longer keep.
--
-- Uses: clock, keys, records, removal, outbox, retention.

-- Returns whether a final run has unfired hooks, which need its record.
local function fires_yet(run)
  local held = redis.pcall('HMGET', run_key(run.id), 'attempts', 'hooks', 'begun')
  run.attempts, run.begun = held[1] or nil, held[3]
  return redis.call('ZSCORE', OUTBOX, entry(run, string.lower(run.state)))
    or held[2] and (redis.call('ZSCORE', OUTBOX, once(run, 'start')) or redis.call('ZSCORE', OUTBOX, once(run, 'overrun')))
end

local LOOKED_AT = 20            -- oldest runs of each state, in one call

-- Removes up to `most` ended runs of a job that has more than `limit`, the oldest submissions first, within the range
-- that was checked in all states. Keeps runs that ended less than `least` ms ago. Returns the number of removed runs.
--
-- ended: the run that just ended. It stays, because its waiters are about to be notified. If the oldest runs are too
-- young, the beat checks them later.
local function thin_out(job, limit, least, most, ended)
  local excess = count_ended(job) - limit
  local found, reach, removed, due = {}, math.huge, 0, nil
  for state in pairs(excess > 0 and FINAL or {}) do
    local heads = redis.call('ZRANGE', job_key(job, state), 0, LOOKED_AT - 1, 'WITHSCORES')
    for i = 1, #heads, 2 do found[#found + 1] = { id = heads[i], job = job, state = state, at = tonumber(heads[i + 1]) } end
    if #heads == 2 * LOOKED_AT then reach = math.min(reach, tonumber(heads[#heads])) end
  end
  table.sort(found, function(a, b) return a.at < b.at end)
  for _, run in ipairs(found) do
    if run.at > reach or removed == excess or removed == most then break end
    if run.id ~= ended then
      local held = redis.pcall('HGET', run_key(run.id), 'finished_at')
      local free = (type(held) == 'string' and tonumber(held) or 0) + least
      if free > NOW then
        due = math.min(due or free, free)
      elseif fires_yet(run) then
        due = math.min(due or math.huge, NOW + HOOK_PATIENCE)
      else
        remove_run(run)
        removed = removed + 1
      end
    end
  end
  if removed >= excess then
    redis.call('ZREM', OVERFULL, job)
  else
    redis.call('ZADD', OVERFULL, removed == most and NOW or due or NOW, job)
  end
  return removed
end
