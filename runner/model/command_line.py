"""Commands that are printed for pasting."""

from __future__ import annotations

import shlex
from pathlib import Path


def command_line(project: Path, *words: str) -> str:
    """Return a command of the runner to paste: it works from any folder."""
    return shlex.join(["runner", *words, "--project", str(project)])
