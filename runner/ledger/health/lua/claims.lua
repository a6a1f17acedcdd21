#!lua flags=allow-oom
-- Checks a portion of the claims; with '1', repairs those that no sweep would ever find.
--
-- Keys: NS:claims, NS:leases, NS:dead-letters. A claim without a lease gets one: either its worker renews it, or it
-- expires and the sweep handles it. An unreadable claim would stop every sweep, so it moves to the dead letters. No run
-- changes its state.
--
-- ARGV: '1' to repair, lease in ms, tokens
-- Returns for each token {id of its message | '', fault | ''}. Faults: unleased, damaged, dead (its lease expired more
-- than two leases ago, so no sweep is running)
--
-- Uses: clock, keys, claims, letters.

local mend, lease = ARGV[1] == '1', tonumber(ARGV[2])
local answer = {}
for i = 3, #ARGV do
  local token = ARGV[i]
  local sound, claim = pcall(load_claim, token)
  local id, fault = '', ''
  if not sound or (claim and (not claim.queue or not claim.priority)) then
    fault = 'damaged'
    if mend then
      local why = cjson.encode({ at = NOW, why = 'a claim that cannot be read' })
      bury(why .. '\n' .. redis.call('HGET', CLAIMS, token))
      release(token)
    end
  elseif claim then
    id = claim.id or ''
    local ends = redis.call('ZSCORE', LEASES, token)
    if not ends then
      fault = 'unleased'
      if mend then redis.call('ZADD', LEASES, NOW + lease, token) end
    elseif tonumber(ends) + 2 * lease < NOW then
      fault = 'dead'
    end
  end
  answer[#answer + 1] = { id, fault }
end
return answer
