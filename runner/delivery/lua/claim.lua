-- Claims the next message that a plain Celery client has published; see shared/claiming.lua.
--
-- Keys: the lists of the inbox, NS:claims, NS:leases, NS:dead-letters. No run changes its state.
--
-- ARGV: token, lease in ms, worker
-- Returns {queue, message}, or {{id of the last ring of the inbox's bell}} if no message waits
--
-- Uses: keys, inbox, claiming.

for priority = 9, 0, -3 do
  local claim = claim_of(INBOX_KEYS[priority], INBOX, priority, ARGV[1], tonumber(ARGV[2]), ARGV[3])
  if claim then return { claim.queue, claim.message } end
end

-- If there are more unreadable messages to bury, the caller must ask again at once instead of waiting for the next
-- ring.
local last = buried == MOST_BURIED and {} or redis.call('XREVRANGE', bell_key(INBOX), '+', '-', 'COUNT', 1)
return { { last[1] and last[1][1] or '0-0' } }
