#!lua flags=allow-oom
-- Releases claims whose messages are done with. No run changes its state here: the claim of an attempt that is under
-- way stays, and runs out, or nothing would ever end its run.
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
