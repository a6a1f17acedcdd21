-- Who did what: NS:audit, a stream; what people submit is in one of its own, so that many submissions push no other
-- act out.
--
-- Uses: keys.

local ACTS_KEPT, LONGEST_COMMENT = 10000, 500

-- Keeps one act. A comment is cut where it is long.
local function audit(act, by, job, id, comment)
  comment = comment or ''
  local length = math.min(#comment, LONGEST_COMMENT)
  while length > 0 and length < #comment and string.find(comment, '^[\128-\191]', length + 1) do length = length - 1 end
  local key = (act == 'submit' or act == 'rerun') and NS .. ':audit-submissions' or NS .. ':audit'
  redis.call('XADD', key, 'MAXLEN', '~', ACTS_KEPT, '*', 'act', act, 'by', by or '', 'job', job or '', 'id', id or '',
    'comment', string.sub(comment, 1, length))
end
