#!lua
-- Keeps a message that nobody can act on; see shared/letters.lua.
--
-- Keys: NS:dead-letters. No run changes its state.
--
-- ARGV: the letter
-- Returns nothing
--
-- Uses: letters.

bury(ARGV[1])
