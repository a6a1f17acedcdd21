-- Checks sets of runs for the doctor.
--
-- Uses: records.

-- Adds the runs that do not belong in the set `key` to `found`, and removes them from the set if `mend` is '1'.
local function find_strays(found, mend, key, belongs)
  for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local run = load_run(id)
    if not run or FINAL[run.state] or not belongs(run) then
      found[#found + 1] = id
      if mend == '1' then redis.call('ZREM', key, id) end
    end
  end
end
