#!lua
-- Creates a run, once. One step writes the record and its message.
--
-- nothing -> PENDING, and in some cases (see shared/making.lua) on to REVOKED (skipped) or FAILURE (invalid_params).
-- Writes NS:run:ID, the indexes, and the message.
--
-- ARGV: id, job, message, key ('' for none), digest of the params, ms to keep the key, eta ('' for now, +MS from now),
--       ms until it expires ('' for never), its result in Celery's format if it is refused ('' if not), then fields of
--       the record as name, value, …
-- Returns {'new' | 'known' | 'conflict', id, its record as a flat list, its result in Celery's format | ''}, or
-- {'paused', who paused it as JSON}
--
-- Uses: clock, keys, making.
-- Hints: held.

local run = { id = ARGV[1], job = ARGV[2], state = 'PENDING', submitted_at = tostring(NOW) }
local fields = { 'job', run.job, 'state', 'PENDING', 'submitted_at', NOW }
for i = 10, #ARGV, 2 do
  run[ARGV[i]] = ARGV[i + 1]
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i + 1]
end
local asked = { key = ARGV[4], digest = ARGV[5], keep_key = ARGV[6], eta = read_start(ARGV[7]),
  expires = tonumber(ARGV[8]), refusal = ARGV[9] ~= '' and ARGV[9] }

local verdict, id = record(run, fields, asked)
if verdict == 'paused' then return { verdict, id } end
if verdict == 'new' or verdict == 'ended' then note_submission(run, 1) end
if verdict == 'new' then place(run, ARGV[3], asked.eta) end
return { verdict == 'ended' and 'new' or verdict, id, redis.call('HGETALL', run_key(id)),
  redis.call('GET', meta_key(id)) or '' }
