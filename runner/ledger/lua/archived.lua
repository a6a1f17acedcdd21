#!lua flags=allow-oom
-- Records that finished runs are in the archive: they move from NS:prunable, the list of runs to copy, to NS:archived,
-- and are pruned from there. No run changes its state.
--
-- Keys: NS:archive (identity: the archive to which the ledger is copied), NS:prunable, NS:archived, NS:forgotten.
-- A run that was forgotten or pruned in the meantime is in neither list and is not added again. If a run was forgotten
-- and a run with the same id has ended since, that one is copied once more, because the archive may hold the first one,
-- and it no longer counts as forgotten.
--
-- ARGV: the identity, ids
-- Returns the ids that were forgotten and must be deleted from the archive; false if the ledger is copied to another
-- archive
--
-- Uses: keys.

if redis.call('HGET', ARCHIVE, 'identity') ~= ARGV[1] then return false end
local forgotten, moved = {}, 0
local any = redis.call('EXISTS', FORGOTTEN) == 1
for i = 2, #ARGV do
  local id = ARGV[i]
  local due = redis.call('ZSCORE', PRUNABLE, id)
  local gone = any and redis.call('ZSCORE', FORGOTTEN, id)
  if due and gone then
    redis.call('ZREM', FORGOTTEN, id)
  elseif due then
    redis.call('ZREM', PRUNABLE, id)
    redis.call('ZADD', ARCHIVED, due, id)
    moved = moved + 1
  elseif gone then
    forgotten[#forgotten + 1] = id
  end
end
if moved > 0 then redis.call('HINCRBY', METRICS, 'archived', moved) end
return forgotten
