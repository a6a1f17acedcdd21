"""Hooks: submit the jobs that the outcome of a run calls for."""
