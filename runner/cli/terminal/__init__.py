"""Modules that the commands share: options, output, tables, times, errors, and following a run."""
