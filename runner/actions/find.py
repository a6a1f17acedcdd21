"""Find runs by what people type: a full id, a unique prefix of one, ``@JOB`` for its latest run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runner.errors import UnknownJob, UsageError
from runner.model.option import did_you_mean
from runner.model.run import Run
from runner.model.run_id import require_run_id

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.search import Page
    from runner.model.run_query import RunQuery


def find_id(project: Project, reference: str, *, reading: bool = True, archived: bool = False) -> str:
    """Return the full id that ``reference`` means.

    Args:
        project: where to look.
        reference: an id, a prefix of 8 or more characters, or ``@JOB``.
        reading: whether ``@JOB`` is allowed; what changes or removes a run wants its id.
        archived: look only in the archive.

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
    return project.reading(archived=archived).resolve(reference)


def find_run(project: Project, reference: str, *, reading: bool = True, archived: bool = False) -> Run:
    """Return the run that ``reference`` means. Arguments and errors are those of :func:`find_id`."""
    return project.reading(archived=archived).get(find_id(project, reference, reading=reading, archived=archived))


def list_runs(project: Project, query: RunQuery, *, limit: int = 20, cursor: str | None = None) -> Page:
    """Return a page of the runs that fit, as :func:`runner.ledger.search.search` does, over ledger and archive.

    Args:
        project: whose runs.
        query: what is looked for.
        limit: how many at most.
        cursor: of the page before.

    Raises:
        UsageError: the cursor is none, or what is named as a flow is another run.
        UnknownJob: no run matches, and no job has the requested name.
        UnknownRun, AmbiguousId: no flow has that id, or more than one.
        Unavailable: Redis cannot be reached.
        ArchiveUnavailable: the archive cannot be reached, and only that is asked.
    """
    page = project.records.page(with_flow(project, query), limit=limit, cursor=cursor)
    if not page.runs and query.job is not None:
        require_known(project, query.job)  # a name that was mistyped is no empty list
    return page


def with_flow(project: Project, query: RunQuery) -> RunQuery:
    """Return a query with the full id of the flow that it names.

    Raises:
        UsageError: what is named as a flow is another run.
        UnknownRun, AmbiguousId: no flow has that id, or more than one.
    """
    return query if query.flow is None else replace(query, flow=_find_flow(project, query.flow, query.archived))


def require_known(project: Project, name: str) -> None:
    """Check that a name is that of a job, or of a step such as ``nightly/load``.

    Raises:
        UnknownJob: it is neither, or the runs of that step have another name.
    """
    flow, slash, step = name.partition("/")
    declared = project.catalog.get(flow)
    if not slash:
        return
    if step not in declared.steps:
        raise UnknownJob(
            f"{flow} has no step {step!r}{did_you_mean(step, declared.steps)}",
            hint=f"its steps: {', '.join(declared.steps)}" if declared.steps else f"job {flow} is not a flow",
        )
    job = declared.steps[step].job
    if job is not None:
        raise UnknownJob(
            f"step {step} of {flow} is job {job}, and its runs have that name",
            hint=f"runner runs --job {job} --steps",
        )


def _find_flow(project: Project, reference: str, archived: bool) -> str:
    run = find_run(project, reference, archived=archived)
    if run.steps is None:
        raise UsageError(f"run {run.id} of {run.job} is not a flow", hint="name the run of a job with steps")
    return run.id
