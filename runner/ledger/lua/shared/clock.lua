-- The time in Unix milliseconds, by this server's clock: clients' clocks never count.

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
