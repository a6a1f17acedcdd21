"""Identify open files, because a job may close any descriptor and its number may be reused."""

from __future__ import annotations

import os


def identity_of(descriptor: int) -> tuple[int, int] | None:
    """Return the identity of an open file, or None if the descriptor is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
