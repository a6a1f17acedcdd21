"""Flows: decide what their steps do next, and advance them."""
