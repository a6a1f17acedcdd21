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
    """Revoke a run; return it, and whether there was anything left to revoke.

    A waiting run is REVOKED at once. An active run goes on without further retries, unless ``terminate`` ends it. A
    flow starts no more steps, and ends when its active step runs have ended.

    Args:
        project: the project of the run.
        reference: the id of the run, or a unique prefix.
        terminate: also end an active run, with its process group.
        signal: the name of the first signal, one of :data:`runner.model.end_signal.SIGNALS`.
        comment: the reason.
        by: the name of the person; ``user@host`` by default.

    Raises:
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
        UsageError: the signal is unknown.
    """
    name = signal_name(signal)
    run_id = find_id(project, reference, reading=False)
    who = by or submitter()
    try:
        run, changed = project.ledger.revoke(run_id, by=who, comment=comment, terminate=terminate, signal=name)
    except UnknownRun:
        for archived in project.records.archived([run_id]):
            return archived, False  # the run has ended
        raise
    if changed and run.steps is not None and not run.final:
        from runner.flows.advance import advance  # start-up time: most runs are not flows

        # At once, even without a live worker: waiting steps are revoked.
        advance(project.ledger, project.catalog, run.id, by=who)
        run = project.ledger.get(run.id)
    return run, changed
