"""Start a worker as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.settings import Settings


def start_worker(settings: Settings, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start ``runner worker`` for a project and return its process.

    Args:
        settings: of the project.
        arguments: of ``runner worker``.
        options: of ``subprocess.Popen``.
    """
    # -P: `python -m` would put the working folder in front of sys.path, and a runner.py there in front of the runner.
    command = [sys.executable, "-P", "-m", "runner", "worker", "--project", str(settings.project), *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=settings.project, **options)
