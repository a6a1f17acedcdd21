"""The command line: one command a file, what they share in ``frame``. Parses, calls an action, prints, exits."""
