#!lua
-- Creates runs of one job, each once, as submit.lua does, all in one step.
--
-- nothing -> PENDING (and on to REVOKED, skipped) for each run. Fields that most of them share are passed, written, and
-- counted once.
--
-- ARGV: job, ms to keep the keys, eta, ms until they expire (both as in submit.lua), number of the following arguments
--       that are common fields of the records (name, value, …), number of those after them that are field names of each
--       run, those two lists; then for each run: id, message, key ('' for none), digest of the params, the values of
--       its fields.
-- Returns who paused the job, as JSON ('' if no run was refused for that), then for each run that was not created: its
-- position in the list (from 1), 'known' | 'conflict' | 'paused', the id of the existing run ('' if paused).
--
-- Uses: clock, queues, making.
-- Hints: held.

local commons, own = tonumber(ARGV[5]), tonumber(ARGV[6])
local common = { job = ARGV[1], state = 'PENDING', submitted_at = tostring(NOW) }
local fields = { 'job', ARGV[1], 'state', 'PENDING', 'submitted_at', NOW }
for i = 7, 6 + commons, 2 do
  common[ARGV[i]] = ARGV[i + 1]
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i + 1]
end
local names, firsts = {}, #fields
for i = 1, own do
  names[i] = ARGV[6 + commons + i]
  fields[firsts + 2 * i - 1] = names[i]
end
local asked = { keep_key = ARGV[2], eta = read_start(ARGV[3]), expires = tonumber(ARGV[4]) }
local inherits = { __index = common }
-- If none of the runs may have to wait, their messages go into the queue together.
local together = not (common.policy or common.rate or common.requires) and not (asked.eta and asked.eta > NOW)
local first, made, messages, paused_by, others = nil, 0, {}, '', {}

for at = 7 + commons + own, #ARGV, 4 + own do
  local run, message = setmetatable({ id = ARGV[at] }, inherits), ARGV[at + 1]
  asked.key, asked.digest = ARGV[at + 2], ARGV[at + 3]
  for i = 1, own do
    local value = ARGV[at + 3 + i]
    run[names[i]] = value
    fields[firsts + 2 * i] = value
  end
  local verdict, found = record(run, fields, asked)
  if verdict == 'new' then
    first, made = first or run, made + 1
    if together then messages[made] = message else place(run, message, asked.eta) end
  else
    if verdict == 'paused' then paused_by, found = found, '' end
    others[#others + 1] = (at - 7 - commons - own) / (4 + own) + 1
    others[#others + 1] = verdict
    others[#others + 1] = found
  end
end
if messages[1] then enqueue(common.queue, common.priority, messages[1], false, unpack(messages, 2)) end
if made > 0 then note_submission(first, made) end
return { paused_by, unpack(others) }
