-- The events for watchers.
--
-- Uses: keys.

local EVENTS_KEPT = '10000'

-- Notifies watchers: the stream stores the event, and the channels wake waiting clients.
local function announce(run, meta)
  if run.flow then
    redis.call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'id', run.id, 'job', run.job, 'state', run.state, 'reason',
      run.reason or '', 'attempt', run.attempts or '0', 'flow', run.flow, 'step', run.step or '', 'item', run.item or '')
  else
    redis.call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*',
      'id', run.id, 'job', run.job, 'state', run.state, 'reason', run.reason or '', 'attempt', run.attempts or '0')
  end
  redis.call('PUBLISH', changed_key(run.id), run.state)
  if meta then redis.call('PUBLISH', meta_key(run.id), meta) end
end
