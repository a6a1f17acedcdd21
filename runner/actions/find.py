"""Find runs by what people type: a full id, a unique prefix of one, ``@JOB`` for its latest run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.model.run import Run
from runner.model.run_id import require_run_id

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.search import Page
    from runner.model.run_query import RunQuery


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
    if not reference.startswith("@"):
        require_run_id(reference)
    return project.ledger.resolve(reference)


def find_run(project: Project, reference: str) -> Run:
    """Return the run that ``reference`` means. Raises as :func:`find_id` does."""
    return project.ledger.get(find_id(project, reference))


def list_runs(project: Project, query: RunQuery, *, limit: int = 20, cursor: str | None = None) -> Page:
    """Return a page of the runs that fit, as :func:`runner.ledger.search.search` does.

    Args:
        project: whose runs.
        query: what is looked for.
        limit: how many at most.
        cursor: of the page before.

    Raises:
        UsageError: the cursor is none.
        UnknownJob: no run matches, and no job has the requested name.
        Unavailable: Redis cannot be reached.
    """
    from runner.ledger.search import search  # start-up time: only lists search

    page = search(project.ledger, query, limit=limit, cursor=cursor)
    if not page.runs and query.job is not None:
        project.catalog.get(query.job)  # a name that was mistyped is no empty list
    return page
