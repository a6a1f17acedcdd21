#!lua flags=allow-oom
-- Reads an active flow in order to advance it. A flow that is not active is removed from the lists. No run changes its
-- state.
--
-- Keys: NS:run:ID, NS:flow:ID, NS:flow-states:ID:STATE, NS:paused, NS:flows, NS:outbox.
--
-- ARGV: id
-- Returns {fields of its record as a flat list, its hash as a flat list, {step, number of its runs in each state
-- (shared/flows.lua), …} for each step that has runs, the reason why it must end ('' if it need not), '1' if its job is
-- paused}, or {}
--
-- Uses: keys, records, pauses, flows, stages.

local fields = redis.pcall('HGETALL', run_key(ARGV[1]))
local run = load_run(ARGV[1], fields)
if not is_under_way(run) then
  leave_flows({ id = ARGV[1] })
  return {}
end
local held, steps = read_steps(run.id)
local pause = pause_of(run)
if pause and pause.ends then redis.call('ZADD', FLOWS, 'XX', 'LT', pause.ends, run.id) end
return { fields, held, steps, why_stopping(run), pause and '1' or '' }
