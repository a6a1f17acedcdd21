"""The code of this package as it is on the disk: what a cache was made with."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def code_signature(*packages: str) -> list[tuple[str, int, int]]:
    """Return the name, size, and modification time of each module of these packages of ``runner``.

    It changes whenever that code does. Empty where the code cannot be listed, as in a zip file.
    """
    found: list[tuple[str, int, int]] = []
    root = Path(__file__).parent.parent
    with contextlib.suppress(OSError):
        for package in packages:
            with os.scandir(root / package) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.endswith(".py"):
                        status = entry.stat()
                        found.append((entry.name, status.st_size, status.st_mtime_ns))
    return found
