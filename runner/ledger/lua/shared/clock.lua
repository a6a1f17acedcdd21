-- The time in Unix milliseconds, by this server's clock: clients' clocks never count. AT is NOW as text, which costs a
-- command less than a number.

local clock = redis.call('TIME')
local AT = clock[1] .. string.sub('00000' .. clock[2], -6, -4)
local NOW = tonumber(AT)
