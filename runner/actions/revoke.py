"""Revoke a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.find import find_id
from runner.actions.submit import submitter
from runner.errors import UsageError
from runner.model.run import Run

if TYPE_CHECKING:
    from runner.actions.project import Project

SIGNALS = ("TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2")
"""What a running job can be ended with; SIGKILL follows where it does not end."""


def revoke(
    project: Project,
    reference: str,
    *,
    terminate: bool = False,
    signal: str = "TERM",
    comment: str | None = None,
    by: str | None = None,
) -> tuple[Run, bool]:
    """Revoke a run; return it, and whether anything was left to revoke.

    One that waits is REVOKED at once. One that runs goes on and nothing follows it, unless ``terminate`` ends it.

    Args:
        project: whose run.
        reference: its id, or a unique prefix of it.
        terminate: end it also if it is running, with its process group.
        signal: the name of the signal to end it with, one of :data:`SIGNALS`.
        comment: why.
        by: who; ``user@host`` by default.

    Raises:
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
        UsageError: no such signal.
    """
    name = signal.upper().removeprefix("SIG")
    if name not in SIGNALS:
        raise UsageError(f"signal {signal!r} is not supported", hint=f"use one of {', '.join(SIGNALS)}")
    run_id = find_id(project, reference, reading=False)
    return project.ledger.revoke(run_id, by=by or submitter(), comment=comment, terminate=terminate, signal=name)
