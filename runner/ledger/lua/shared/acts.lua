-- The audit log: one stream for each type of act, so that many acts of one type do not displace those of another. Acts
-- on jobs that are reserved for administrators are in NS:audit.
--
-- Uses: keys.

local ACTS_KEPT, LONGEST_COMMENT = 10000, 500

-- Adds an act to the audit log. A long comment is cut.
local function audit(act, by, job, id, comment)
  comment = comment or ''
  local length = math.min(#comment, LONGEST_COMMENT)
  while length > 0 and length < #comment and string.find(comment, '^[\128-\191]', length + 1) do length = length - 1 end
  local kind = (act == 'submit' or act == 'rerun') and '-submissions'
    or (act == 'revoke' or act == 'terminate') and '-revocations' or act == 'forget' and '-forgotten'
    or (act == 'approve' or act == 'reject') and '-approvals' or ''
  redis.call('XADD', audit_key(kind), 'MAXLEN', '~', ACTS_KEPT, '*', 'act', act, 'by', by or '',
    'job', job or '', 'id', id or '', 'comment', string.sub(comment, 1, length))
end
