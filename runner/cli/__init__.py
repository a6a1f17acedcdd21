"""The command line: one command per file; ``terminal`` holds the code that they share."""
