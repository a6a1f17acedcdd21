"""Hold jobs for a while, and let them go on."""

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
    """Pause a job, or all (``*``): schedules do not fire, what waits does not start, submissions are refused.

    Args:
        project: where the job is declared.
        job: its name, or ``*``.
        seconds: after which it goes on by itself; None: until :func:`resume`.
        comment: why.
        by: who; ``user@host`` by default.

    Raises:
        UnknownJob: there is no such job.
        Unavailable: Redis cannot be reached.
    """
    if job != ALL:
        project.catalog.get(job)
    return pauses.pause(project.ledger, job, by=by or submitter(), seconds=seconds, comment=comment)


def resume(project: Project, job: str, *, by: str | None = None) -> bool:
    """End a pause; return whether there was one.

    Raises:
        UnknownJob: there is no such job, and none of that name is paused.
        Unavailable: Redis cannot be reached.
    """
    ended = pauses.resume(project.ledger, job, by=by or submitter())
    if not ended and job != ALL:
        project.catalog.get(job)
    return ended
