#!lua flags=allow-oom
-- Reads runs, and settles what is overdue about them first: an expired run reads REVOKED though nobody looked.
--
-- ARGV: ids
-- Returns for each id {fields of the record as a flat list, result in Celery's format | ''}, or {} if unknown
--
-- Uses: keys, records, endings.

local answer = {}
for i, id in ipairs(ARGV) do
  local fields = redis.call('HGETALL', run_key(id))
  if #fields > 0 then
    local run = load_run(id, fields)
    if expired(run) then
      revoke_run(run, 'expired')
      fields = redis.call('HGETALL', run_key(id))
    end
    answer[i] = { fields, run.state == 'SUCCESS' and redis.call('GET', meta_key(id)) or '' }
  else
    answer[i] = {}
  end
end
return answer
