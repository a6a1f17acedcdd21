#!lua flags=no-writes
-- Reads the records of the workers: those that live, and those that went without a word in the last day.
--
-- Returns {now, {{name, until when it counts as alive (ms), its record as a flat list}, …}}
--
-- Uses: clock, keys.

local found = {}
local listed = redis.call('ZRANGE', WORKERS, 0, -1, 'WITHSCORES')
for i = 1, #listed, 2 do
  local record = redis.pcall('HGETALL', worker_key(listed[i]))
  found[#found + 1] = { listed[i], listed[i + 1], record.err and { 'damaged', '' } or record }
end
return { NOW, found }
