#!lua flags=allow-oom
-- Checks a portion of one index for entries that do not belong there; with '1', removes them.
--
-- Keys: the given index and NS:run:ID of each entry. No run changes its state; records.lua adds missing entries. An
-- entry and its record are compared in one step, so a run that changes its state is never misjudged.
--
-- ARGV: '1' to repair, type (ids | state | job | step-state | step-job | expiring | delayed | prunable | archived |
--       flows | terminating), the index's key, job ('' if none), state ('' if none), then ids
-- Returns the ids that do not belong there
--
-- Uses: keys, records.

local mend, kind, key, job, state = ARGV[1] == '1', ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local BELONGS = {
  ids = function() return true end,
  state = function(run) return run.state == state and not run.flow end,
  job = function(run) return run.job == job and run.state == state and (not run.flow or string.find(job, '/', 1, true)) end,
  ['step-state'] = function(run) return run.state == state and run.flow end,
  ['step-job'] = function(run) return run.job == job and run.state == state and run.flow end,
  expiring = function(run) return (run.state == 'PENDING' or run.state == 'RETRY') and run.expires_at end,
  delayed = function(run) return (run.state == 'PENDING' or run.state == 'RETRY') and run.message end,
  prunable = function(run) return FINAL[run.state] and not run.flow end,
  archived = function(run) return FINAL[run.state] and not run.flow end,
  flows = function(run) return run.state == 'STARTED' and run.begun end,
  terminating = function(run) return run.state == 'STARTED' and run.terminate end,
}
local FIELDS = { 'job', 'state', 'expires_at', 'message', 'terminate', 'flow', 'begun' }

-- It may have been removed since the index was read.
local function still_there(id)
  if kind == 'terminating' then return redis.call('HEXISTS', key, id) == 1 end
  return redis.call('ZSCORE', key, id)
end

local found = {}
for i = 6, #ARGV do
  local id = ARGV[i]
  local values = redis.pcall('HMGET', run_key(id), unpack(FIELDS))
  local run = {}
  for n, name in ipairs(FIELDS) do run[name] = values[n] or nil end
  if (not run.state or not BELONGS[kind](run)) and still_there(id) then
    found[#found + 1] = id
    if mend then redis.call(kind == 'terminating' and 'HDEL' or 'ZREM', key, id) end
  end
end
return found
