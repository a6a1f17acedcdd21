"""The fault suite: every promise about delivery, attacked. ``python -m tests.fault --help``."""
