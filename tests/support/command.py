"""How tests call the command line, and in which environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

COMMAND = [sys.executable, "-m", "runner"]
CELERY = [sys.executable, "-m", "celery", "-A", "runner"]
"""Celery's own program, with the app of the project that it is called in."""


def clean_environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return this process's environment without what would change a command's mind, and with ``extra``."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("RUNNER_TEST_") or not name.startswith(("RUNNER_", "CELERY_", "FLOWER_", "PYTEST_"))
    }
    # Without bytecode every one of the many commands that tests start would compile the package anew.
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        own.pop(name, None)
    own["TERM"] = "dumb"
    # A process that dies by a signal says where it was.
    own["PYTHONFAULTHANDLER"] = "1"
    for name, value in (extra or {}).items():
        if value is None:
            own.pop(name, None)
        else:
            own[name] = value
    return own
