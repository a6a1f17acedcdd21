#!lua flags=allow-oom
-- Checks runs that wait for a success of a job; with '1', makes the beat check the sets that it does not know.
--
-- Keys: NS:required, NS:requiring:JOB:MS, NS:run:ID. No run changes its state.
--
-- ARGV: '1' to repair, names of sets of such runs, as JOB:MS
-- Returns the ids of the runs in them that do not wait there, and one run of each set that no beat checks
--
-- Uses: keys, members.

local found = {}

for i = 2, #ARGV do
  local job, within = string.match(ARGV[i], '^(.*):(%d+)$')
  local key = requiring_key(job or '', within or '')
  find_strays(found, ARGV[1], key, function(run) return run.aside == key and run.message end)
  if redis.call('EXISTS', key) == 1 and redis.call('SISMEMBER', REQUIRED, ARGV[i]) == 0 then
    found[#found + 1] = redis.call('ZRANGE', key, 0, 0)[1]
    if ARGV[1] == '1' then redis.call('SADD', REQUIRED, ARGV[i]) end
  end
end
return found
