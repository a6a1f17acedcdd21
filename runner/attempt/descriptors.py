"""Tells an open file from another one that has its number now: a job may close any descriptor."""

from __future__ import annotations

import os


def identity_of(descriptor: int) -> tuple[int, int] | None:
    """Return the identity of an open file, or None if the descriptor is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
