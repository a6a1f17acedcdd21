-- How runs enter their queues.
--
-- Uses: clock, keys, records, events, claims, waiting, pauses, rates, revoking.

-- Makes room for a run with the policy `replace`: the oldest runs of its group end, so that at most `limit` runs remain
-- with it. Those in STARTED are terminated, and keep their slots until they are dead.
local function replace_oldest(run)
  local active = {}
  for _, id in ipairs(redis.call('ZRANGE', holders_key(run.group), 0, -1)) do
    local other = load_run(id)
    if other and not other.replaced then active[#active + 1] = other end
  end
  for _, id in ipairs(redis.call('ZRANGE', waiting_key(run.group), 0, -1)) do
    active[#active + 1] = load_run(id)
  end
  for i = 1, #active - limit_of(run) + 1 do
    local oldest = active[i]
    oldest.replaced = run.id
    local told = cjson.encode({ by = cjson.null, comment = 'replaced by run ' .. run.id, at = NOW })
    redis.call('HSET', run_key(oldest.id), 'replaced', run.id, 'revocation', oldest.revocation or told)
    if oldest.state == 'STARTED' then
      redis.call('HSET', run_key(oldest.id), 'terminate', 'TERM', 'detail', 'terminating')
      end_attempt(oldest, 'TERM')
      announce(oldest)
    else
      revoke_run(oldest, 'replaced')
    end
  end
end

-- Handles a run that was never started when it enters its queue: its policy applies now, unless the run must wait for
-- another job or for its rate.
local function arrive(run, message)
  if run.requires and not pause_of(run) and held_back(run, message) then return end
  if run.group and not run.at_once and not pause_of(run) and not holds_slot(run) and (not run.rate or take_pass(run)) then
    if run.policy == 'replace' then replace_oldest(run) end
    if run.policy == 'skip' and redis.call('ZCARD', holders_key(run.group)) >= limit_of(run) then
      return revoke_run(run, 'skipped')
    end
  end
  admit(run, run.queue, run.priority, message)
end

-- Continues a run that was set aside or delayed. After a loss it does not wait in line again: it goes ahead of the
-- queued runs.
local function go_on(run)
  local message = pick_up(run)
  if run.state == 'PENDING' then return arrive(run, message) end
  admit(run, run.queue, run.priority, message, run.deaths_in_row)
end
