"""Forget a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.find import find_id
from runner.actions.submit import submitter
from runner.errors import UnknownRun

if TYPE_CHECKING:
    from runner.actions.project import Project


def forget(project: Project, reference: str, *, by: str | None = None) -> str:
    """Remove all data of a finished run, also from the archive; return its full id.

    If the archive cannot be reached, a copier removes it there later.

    Raises:
        NotFinished: the run is not in a final state.
        BelongsToFlow: the run is a step run.
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
        ArchiveUnavailable: only the archive may have it, and cannot be reached.
    """
    by = by or submitter()
    try:
        run_id = find_id(project, reference, reading=False)
        project.ledger.forget(run_id, by=by)
    except UnknownRun as unknown:
        if project.settings.archive_url is None:
            raise
        from runner.actions.archive import forget_archived  # start-up time: most projects have no archive

        return forget_archived(project, reference, by, unknown)
    if project.settings.archive_url is not None:
        from runner.actions.archive import remove_archived  # start-up time: as above

        remove_archived(project, run_id)
    return run_id
