"""Wait for a Redis that is down, resets connections, loads its data, or refuses writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.errors import Unavailable
from runner.ledger.permissions import refuse_missing_permissions
from runner.ledger.translation import may_come_back
from runner.process.systemd import notify

if TYPE_CHECKING:
    from runner.actions.project import Project

LONGEST_PAUSE = 5.0
"""Seconds between two tries."""

_STARTING = "STATUS=waiting for Redis\nEXTEND_TIMEOUT_USEC=60000000"
"""Seconds between notifications to systemd, which would otherwise end a slowly starting process."""


def await_server(project: Project, say: Callable[[str], None], patience: float | None = None) -> None:
    """Return once the project's Redis answers.

    Args:
        project: the project.
        say: takes a line for the log when the wait begins and ends.
        patience: how long to wait (seconds); None: forever.

    Raises:
        Unavailable: Redis cannot be reached and waiting would not help (a wrong password, an embedded server that does
            not start), or ``patience`` has passed.
        InvalidSettings: the user of Redis lacks permissions.
    """
    pause, deadline = 0.0, None if patience is None else time.monotonic() + patience
    while True:
        try:
            refuse_missing_permissions(project.ledger)
        except Unavailable as error:
            if not may_come_back(error) or (deadline is not None and time.monotonic() >= deadline):
                raise
            if not pause:
                say(f"{error.message} ({error.hint}); waiting for it")
            notify(_STARTING)
            pause = min(max(1.0, 2 * pause), LONGEST_PAUSE)
            time.sleep(pause)
        else:
            if pause:
                say("Redis is back")
            return
