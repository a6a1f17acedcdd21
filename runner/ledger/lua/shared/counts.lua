-- The counters that never expire: NS:metrics, a hash. runner/ledger/metrics.py reads it. Its fields are words separated
-- by spaces: counter, job, and a label that distinguishes several counters of a job.
--
-- Uses: keys.

local BUCKETS = { 100, 500, 1000, 5000, 15000, 60000, 300000, 900000, 3600000, 14400000 }  -- ms, upper bounds

-- number: the increment; 1 by default.
local function count(what, job, which, number)
  redis.call('HINCRBY', METRICS, what .. ' ' .. job .. (which and ' ' .. which or ''), number or '1')
end

local function observe(what, job, ms)
  local bucket = 'more'
  for _, edge in ipairs(BUCKETS) do
    if ms <= edge then
      bucket = edge
      break
    end
  end
  count(what, job, bucket)
  redis.call('HINCRBY', METRICS, what .. ' ' .. job .. ' sum', math.max(0, math.floor(ms)))
end
