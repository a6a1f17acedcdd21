"""Submits runs for what happens outside: files that appear."""
