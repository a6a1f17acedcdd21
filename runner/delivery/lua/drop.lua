#!lua flags=allow-oom
-- Releases claims whose messages are done with, without touching any run.
--
-- ARGV: tokens
--
-- Uses: claims.

for i = 1, #ARGV do release(ARGV[i]) end
return #ARGV
