"""Hooks: firing what the outcome of a run asks for."""
