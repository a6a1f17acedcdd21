#!lua flags=allow-oom
-- Marks a backfill as revoked, so that submit.lua creates no more runs for it. Its runs are revoked one by one.
--
-- NS:backfill:ID: revoked. No run changes its state.
--
-- ARGV: id, by, comment
-- Returns 1, or 0 if there is no such backfill
--
-- Uses: keys, acts.

local key = backfill_key(ARGV[1])
local job = redis.call('HGET', key, 'job')
if not job then return 0 end
redis.call('HSET', key, 'revoked', 1)
local comment = ARGV[3] ~= '' and ': ' .. ARGV[3] or ''
audit('revoke', ARGV[2], job, '', 'backfill ' .. ARGV[1] .. comment)
return 1
