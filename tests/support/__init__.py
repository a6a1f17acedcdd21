"""Shared parts of tests: projects, commands, workers, and servers, all of them real."""
