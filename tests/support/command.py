"""The command line and the environment of commands that tests run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

COMMAND = [sys.executable, "-m", "runner"]
CELERY = [sys.executable, "-m", "celery", "-A", "runner"]
"""Celery's own program, with the app of the project in the working folder."""


def clean_environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return the environment of this process with ``extra``, and without variables that influence a command."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("RUNNER_TEST_") or not name.startswith(("RUNNER_", "CELERY_", "FLOWER_", "PYTEST_"))
    }
    # Without bytecode, each of the many commands of the tests would compile the package again.
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        own.pop(name, None)
    own["TERM"] = "dumb"
    # Print a traceback when a process dies by a signal.
    own["PYTHONFAULTHANDLER"] = "1"
    for name, value in (extra or {}).items():
        if value is None:
            own.pop(name, None)
        else:
            own[name] = value
    return own
