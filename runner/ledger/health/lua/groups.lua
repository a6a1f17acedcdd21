#!lua flags=allow-oom
-- Checks the concurrency slots of some groups; with '1', frees leaked slots, and gives free ones to waiting runs.
--
-- Keys: NS:limits, NS:holders:GROUP, NS:waiting:GROUP, NS:run:ID. No run changes its state.
--
-- ARGV: '1' to repair, groups
-- Returns the ids of the runs that wrongly hold a slot or wait for one, and of those that wait although a slot is free
--
-- Uses: keys, members, waiting.

local found = {}

for i = 2, #ARGV do
  local group = ARGV[i]
  local waiting = waiting_key(group)
  find_strays(found, ARGV[1], holders_key(group), function(run)
    return run.group == group or run.at_once and places_of(run) == group
  end)
  find_strays(found, ARGV[1], waiting, function(run) return run.aside == waiting and run.message end)
  local free = tonumber(redis.call('HGET', LIMITS, group) or '0') - redis.call('ZCARD', holders_key(group))
  if free > 0 then
    for _, id in ipairs(redis.call('ZRANGE', waiting, 0, free - 1)) do found[#found + 1] = id end
  end
  if ARGV[1] == '1' then promote(group) end
end
return found
