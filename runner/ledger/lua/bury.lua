#!lua
-- Stores a message that no worker can process; see shared/letters.lua.
--
-- Keys: NS:dead-letters. No run changes its state.
--
-- ARGV: the dead letter
-- Returns nothing
--
-- Uses: letters.

bury(ARGV[1])
