"""Wait for runs to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.model.run import Run

if TYPE_CHECKING:
    from runner.actions.project import Project

PATIENCE = 60.0
"""Seconds for which a waiter goes on without reaching Redis: long enough for it to restart."""


def wait(
    project: Project,
    ids: Sequence[str],
    *,
    timeout: float | None = None,
    on_change: Callable[[Run], None] = lambda _run: None,
    patience: float | None = PATIENCE,
) -> list[Run]:
    """Return the runs once all are final, in the order of ``ids``.

    Args:
        project: whose runs.
        ids: full ids.
        timeout: seconds to wait, or None to wait forever.
        on_change: called with each run as it is now, then again whenever it changed.
        patience: seconds to go on without reaching Redis.

    Raises:
        WaitTimeout: the time has passed; the runs go on.
        UnknownRun: one of them is not known, or was forgotten while waiting.
        Unavailable: Redis could not be reached for longer than ``patience``.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    latest: dict[str, Run] = {}
    with project.ledger.watch(ids, project.records.archived) as watch:
        for run in watch.changes(deadline=deadline, patience=patience):
            latest[run.id] = run
            on_change(run)
    return [latest[run_id] for run_id in ids]
