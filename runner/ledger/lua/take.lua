#!lua flags=allow-oom
-- The work of a taker between two runs, in one round trip: settles the last run, and claims, checks, and starts the
-- next.
--
-- STARTED -> SUCCESS, and PENDING | RETRY -> STARTED; see shared/settling.lua, claiming.lua, and starting.lua. No
-- message is taken when Redis has no memory left. A repeated call with the same token, after a lost answer, returns the
-- same answer.
--
-- A run is started here only if the worker has the same version of its job as at submission: NS:known:DIGEST holds the
-- digest of each sound job of the worker's catalog. Any other message is claimed and left to the worker.
--
-- ARGV: last run's id ('' for none), its token, its result in Celery's format; new token ('' to take nothing), lease in
--       ms, worker, pid, digest of the worker's catalog, queues
-- Returns {settled: 1, 2 if its flow must be advanced now, 0 if its token is stale, '' for none; and one of: 'idle';
-- 'again': there may be more; 'held', queue, priority, message; 'go', id, job, queue, priority, attempts and so on as
-- in shared/starting.lua}
--
-- Uses: keys, claims, claiming, settling, starting.

local MOST_DROPPED = 20
local token, lease, worker, pid = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local settled = ARGV[1] ~= '' and settle(ARGV[1], ARGV[2], 'SUCCESS', '', ARGV[3], '') or ''
if token == '' then return { settled, 'idle' } end

local queues = { unpack(ARGV, 9) }
local dropped = 0
while dropped < MOST_DROPPED do
  -- If all queues are empty, the token may still hold a claim whose answer was lost.
  local claim = claim_next(token, lease, worker, queues) or dropped == 0 and load_claim(token)
  if not claim then break end
  local headers = claim.headers or cjson.decode(claim.message).headers
  local id, job, digest = headers.id, headers.task, headers.digest
  if not (claim.ours and type(id) == 'string' and type(job) == 'string' and type(digest) == 'string'
    and redis.call('HGET', known_key(ARGV[8]), job) == digest) then
    return { settled, 'held', claim.queue, claim.priority, claim.message }
  end
  local answer = start(id, token, claim, worker, pid, job, '')
  if answer[1] == 'go' then
    return { settled, 'go', id, job, claim.queue, claim.priority, unpack(answer, 2) }
  end
  dropped = dropped + 1
end
if dropped == MOST_DROPPED or buried == MOST_BURIED then return { settled, 'again' } end

-- All queues are empty, so the rings are for messages that were already taken.
local rings = {}
for i, queue in ipairs(queues) do rings[i] = ring_key(queue) end
redis.call('DEL', unpack(rings))
return { settled, 'idle' }
