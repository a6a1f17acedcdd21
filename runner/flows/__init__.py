"""Flows: decide what their steps do next, and take them there."""
