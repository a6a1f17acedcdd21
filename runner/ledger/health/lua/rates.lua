#!lua flags=allow-oom
-- Checks the rate limits of some groups; with '1', takes leaked passes back, and schedules a beat for waiting runs.
--
-- Keys: NS:rates, NS:passes:GROUP, NS:rated:GROUP, NS:run:ID. No run changes its state.
--
-- ARGV: '1' to repair, groups
-- Returns the ids of the runs that wrongly have a pass or wait for one, and of those that wait although nothing would
-- ever let them continue
--
-- Uses: clock, keys, members.

local found = {}

for i = 2, #ARGV do
  local group = ARGV[i]
  local rated = rated_key(group)
  find_strays(found, ARGV[1], passes_key(group), function(run) return run.rate_group == group and run.state ~= 'STARTED' end)
  find_strays(found, ARGV[1], rated, function(run) return run.aside == rated and run.message end)
  if redis.call('EXISTS', rated) == 1 and not redis.call('ZSCORE', RATES, group) then
    found[#found + 1] = redis.call('ZRANGE', rated, 0, 0)[1]
    if ARGV[1] == '1' then redis.call('ZADD', RATES, NOW, group) end
  end
end
return found
