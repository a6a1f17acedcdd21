#!lua flags=allow-oom
-- Removes the runs that retention no longer keeps, the oldest first: by age, then by their number. No run changes its
-- state.
--
-- Keys: NS:prunable, NS:overfull, and all that is known of each of those runs. Apart from the beat, so that it stays
-- short: there may be thousands a second.
--
-- ARGV: how many at most
-- Returns 1 if there is more to do now, or 0
--
-- Uses: clock, keys, removal, thinning.

local most = tonumber(ARGV[1])
local JOBS = 5                  -- looked at in one call

local old = redis.call('ZRANGE', PRUNABLE, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, most)
for _, id in ipairs(old) do
  local job, state = unpack(redis.pcall('HMGET', run_key(id), 'job', 'state'))
  if job and state then remove_run({ id = id, job = job, state = state }) else redis.call('ZREM', PRUNABLE, id) end
end

local left = most - #old
for _, job in ipairs(redis.call('ZRANGE', OVERFULL, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, JOBS)) do
  if left == 0 then break end
  local limit, least = string.match(redis.call('HGET', OVERFULL_RULES, job) or '', '^(%d+) (%d+)$')
  if limit then
    left = left - thin_out(job, tonumber(limit), tonumber(least), left)
  else
    redis.call('ZREM', OVERFULL, job)
  end
end
local more = redis.call('ZCOUNT', PRUNABLE, '-inf', NOW) + redis.call('ZCOUNT', OVERFULL, '-inf', NOW)
return more > 0 and 1 or 0
