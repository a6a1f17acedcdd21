"""Triggers: submit runs when something happens outside, such as a new file."""
