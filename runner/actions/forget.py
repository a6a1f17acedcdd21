"""Forget a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.find import find_id
from runner.actions.submit import submitter

if TYPE_CHECKING:
    from runner.actions.project import Project


def forget(project: Project, reference: str, *, by: str | None = None) -> str:
    """Remove all that is known of a finished run; return its full id.

    Raises:
        NotFinished: it is not in a final state.
        BelongsToFlow: it is a step run.
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
    """
    run_id = find_id(project, reference, reading=False)
    project.ledger.forget(run_id, by=by or submitter())
    return run_id
