"""Make commands that users can copy from messages."""

from __future__ import annotations

import shlex
from pathlib import Path


def command_line(project: Path, *arguments: str) -> str:
    """Return a command of the runner that works in any folder."""
    return shlex.join(["runner", *arguments, "--project", str(project)])
