-- The time in Unix milliseconds, by the clock of the server; the clocks of clients never count. AT is NOW as text:
-- passing text to a command is slightly cheaper than passing a number.

local clock = redis.call('TIME')
local AT = clock[1] .. string.sub('00000' .. clock[2], -6, -4)
local NOW = tonumber(AT)
