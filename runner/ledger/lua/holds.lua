-- Returns whether a claim is still held. Reads NS:claims; no run changes its state.
--
-- ARGV: token
-- Returns 1 or 0
--
-- Uses: keys.

return redis.call('HEXISTS', CLAIMS, ARGV[1])
