-- Returns which keys of a job belong to existing runs, and extends their expiry.
--
-- NS:key:JOB:KEY: see shared/making.lua. No run changes its state.
-- ARGV: job, ms to keep them from now on, then keys
-- Returns for each key 1 if it is known, else 0
--
-- Uses: keys.

local answer = {}
for i = 3, #ARGV do
  answer[i - 2] = redis.call('PEXPIRE', submission_key(ARGV[1], ARGV[i]), ARGV[2])
end
return answer
