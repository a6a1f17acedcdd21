-- The dead letters: messages that no worker can process, the newest first.
--
-- Uses: keys.

local LETTERS_KEPT = 10000

local function bury(letter)
  redis.call('LPUSH', DEAD_LETTERS, letter)
  redis.call('LTRIM', DEAD_LETTERS, 0, LETTERS_KEPT - 1)
end
