"""Revoke a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.find import find_id
from runner.actions.submit import submitter
from runner.errors import UnknownRun
from runner.model.end_signal import signal_name
from runner.model.run import Run

if TYPE_CHECKING:
    from runner.actions.project import Project


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

    One that waits is REVOKED at once. One that runs goes on and nothing follows it, unless ``terminate`` ends it. A
    flow starts no more steps, and ends when none of its step runs goes on.

    Args:
        project: whose run.
        reference: its id, or a unique prefix of it.
        terminate: end it also if it is running, with its process group.
        signal: the name of the signal to end it with, one of :data:`runner.model.end_signal.SIGNALS`.
        comment: why.
        by: who; ``user@host`` by default.

    Raises:
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
        UsageError: no such signal.
    """
    name = signal_name(signal)
    run_id = find_id(project, reference, reading=False)
    who = by or submitter()
    try:
        run, changed = project.ledger.revoke(run_id, by=who, comment=comment, terminate=terminate, signal=name)
    except UnknownRun:
        for archived in project.records.archived([run_id]):
            return archived, False  # it has ended
        raise
    if changed and run.steps is not None and not run.final:
        from runner.flows.advance import advance  # start-up time: most runs are not flows

        # At once, whether or not a worker lives: steps that wait are revoked.
        advance(project.ledger, project.catalog, run.id, by=who)
        run = project.ledger.get(run.id)
    return run, changed
