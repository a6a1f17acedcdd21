"""Pause and resume jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.submit import submitter
from runner.ledger import pauses
from runner.model.pause import ALL, Pause

if TYPE_CHECKING:
    from runner.actions.project import Project


def pause(
    project: Project, job: str, *, seconds: float | None = None, comment: str | None = None, by: str | None = None
) -> Pause:
    """Pause a job, or all (``*``): schedules do not fire, waiting runs do not start, and submissions are refused.

    Args:
        project: the project of the job.
        job: the name of the job, or ``*``.
        seconds: the duration of the pause; None: until :func:`resume`.
        comment: the reason.
        by: the name of the person; ``user@host`` by default.

    Raises:
        UnknownJob: the job does not exist.
        Unavailable: Redis cannot be reached.
    """
    if job != ALL:
        project.catalog.get(job)
    return pauses.pause(project.ledger, job, by=by or submitter(), seconds=seconds, comment=comment)


def resume(project: Project, job: str, *, by: str | None = None) -> bool:
    """End a pause; return whether there was one.

    Raises:
        UnknownJob: the job does not exist, and no job with this name is paused.
        Unavailable: Redis cannot be reached.
    """
    ended = pauses.resume(project.ledger, job, by=by or submitter())
    if not ended and job != ALL:
        project.catalog.get(job)
    return ended
