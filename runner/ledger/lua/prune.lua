#!lua flags=allow-oom
-- Removes the runs that retention no longer keeps, the oldest first. No run changes its state.
--
-- Keys: NS:prunable, and all that is known of each of those runs. Apart from the beat, so that it stays short: there
-- may be thousands a second.
--
-- ARGV: how many at most
-- Returns how many are gone
--
-- Uses: clock, keys, records.

local old = redis.call('ZRANGE', PRUNABLE, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, id in ipairs(old) do
  local job, state = unpack(redis.call('HMGET', run_key(id), 'job', 'state'))
  if job then remove_run({ id = id, job = job, state = state }) else redis.call('ZREM', PRUNABLE, id) end
end
return #old
