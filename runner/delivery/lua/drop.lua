#!lua flags=allow-oom
-- Releases the claims of messages that are finished. No run changes its state: the claim of an active attempt stays
-- until its lease expires, because nothing else would end that run.
--
-- ARGV: tokens
--
-- Uses: keys, claims.

for i = 1, #ARGV do
  local claim = load_claim(ARGV[i])
  local state, token
  if claim and claim.id then state, token = unpack(redis.call('HMGET', run_key(claim.id), 'state', 'token')) end
  if state ~= 'STARTED' or token ~= ARGV[i] then release(ARGV[i]) end
end
return #ARGV
