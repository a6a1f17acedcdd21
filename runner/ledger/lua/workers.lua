#!lua flags=no-writes
-- Reads the records of the workers: live ones, and those that went silent in the last day.
--
-- With ARGV[1], only those of that host. Nearly all worker names end with the host, so the other records are read only
-- if none does.
-- Returns {now, {{name, time until which it counts as alive (ms), its record as a flat list}, …}}
--
-- Uses: clock, keys.

local listed = redis.call('ZRANGE', WORKERS, 0, -1, 'WITHSCORES')
local host = ARGV[1]

local function is_wanted(name, by_name)
  if not host then
    return true
  elseif by_name then
    return string.sub(name, -#host - 1) == '@' .. host
  end
  return redis.pcall('HGET', worker_key(name), 'host') == host
end

local function read(by_name)
  local found = {}
  for i = 1, #listed, 2 do
    if is_wanted(listed[i], by_name) then
      local record = redis.pcall('HGETALL', worker_key(listed[i]))
      found[#found + 1] = { listed[i], listed[i + 1], record.err and { 'damaged', '' } or record }
    end
  end
  return found
end

local found = read(true)
return { NOW, #found == 0 and read(false) or found }
