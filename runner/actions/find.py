"""Find runs by what people type: a full id, a unique prefix of one, ``@JOB`` for its latest run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.model.run import Run, State

if TYPE_CHECKING:
    from runner.actions.project import Project


def find_id(project: Project, reference: str, *, reading: bool = True) -> str:
    """Return the full id that ``reference`` means.

    Args:
        project: where to look.
        reference: an id, a prefix of 8 or more characters, or ``@JOB``.
        reading: whether ``@JOB`` is allowed; what changes or removes a run wants its id.

    Raises:
        UsageError: ``@JOB`` where an id is wanted, or an empty text.
        UnknownRun: nothing fits.
        AmbiguousId: more than one run fits, or the prefix is too short.
    """
    if reference.startswith("@") and not reading:
        raise UsageError(
            f"{reference} may be another run by the time this is done",
            hint=f"name the run by its id; runner status {reference} shows it",
        )
    if not reference.strip("@"):
        raise UsageError(f"{reference!r} is not an id", hint="runner runs lists the ids")
    return project.ledger.resolve(reference)


def find_run(project: Project, reference: str) -> Run:
    """Return the run that ``reference`` means. Raises as :func:`find_id` does."""
    return project.ledger.get(find_id(project, reference))


def list_runs(
    project: Project,
    *,
    job: str | None = None,
    states: Sequence[State] = (),
    since: float | None = None,
    limit: int = 20,
) -> list[Run]:
    """Return runs, newest submission first.

    Args:
        project: whose runs.
        job: only of this job.
        states: only in these states; all by default.
        since: only submitted at or after this Unix time in seconds.
        limit: how many at most.
    """
    return project.ledger.runs(job=job, states=states, since=since, limit=limit)
