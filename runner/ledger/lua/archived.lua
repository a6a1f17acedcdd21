#!lua flags=allow-oom
-- Notes that finished runs are in the archive: they leave NS:prunable, the list of what is to be copied, for NS:archived,
-- and are pruned from there. No run changes its state.
--
-- Keys: NS:archive (identity: of the archive that the ledger is copied to), NS:prunable, NS:archived, NS:forgotten.
-- A run that was forgotten or pruned meanwhile is in neither list, and stays so. One that was forgotten and has ended
-- under the same id again is copied once more, as what was written may be the first one, and is forgotten no longer.
--
-- ARGV: the identity, ids
-- Returns those that were forgotten, and must leave the archive again; false if the ledger is copied to another archive
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
