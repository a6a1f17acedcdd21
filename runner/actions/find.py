"""Find runs by what people type: a full id, a unique prefix of one, or ``@JOB`` for the latest run of a job."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.errors import RunnerError, UnknownJob, UnknownRun, UsageError
from runner.model.option import did_you_mean
from runner.model.run import Run, State
from runner.model.run_id import require_run_id

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.search import Page
    from runner.model.run_query import RunQuery

_FAILURES = 50
_FULL_ID = 36
"""The length of the id of a backfill, which is a UUID."""


def find_id(project: Project, reference: str, *, reading: bool = True, archived: bool = False) -> str:
    """Return the full id that ``reference`` means.

    Args:
        project: the project of the run.
        reference: an id, a prefix of 8 or more characters, or ``@JOB``.
        reading: whether ``@JOB`` is allowed. Commands that change or remove a run require its id.
        archived: search only the archive.

    Raises:
        UsageError: ``@JOB`` where an id is required, or an empty text.
        UnknownRun: no run matches.
        AmbiguousId: more than one run matches, or the prefix is too short.
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
    try:
        return project.reading(archived=archived).resolve(reference)
    except UnknownRun as error:
        if _is_job(project, reference):
            usage = (
                f"write @{reference} for its latest run" if reading else f"runner runs --job {reference} lists its runs"
            )
            raise UnknownRun(error.message, hint=f"{reference} is a job: {usage}") from None
        raise


def _is_job(project: Project, name: str) -> bool:
    try:
        return name in project.catalog.jobs
    except RunnerError:
        return False  # the unknown run is the error to report, not a faulty file


def find_run(project: Project, reference: str, *, reading: bool = True, archived: bool = False) -> Run:
    """Return the run that ``reference`` means. Arguments and errors are those of :func:`find_id`."""
    return project.reading(archived=archived).get(find_id(project, reference, reading=reading, archived=archived))


def latest_failure(project: Project, *, archived: bool = False) -> Run:
    """Return the run that ended last of the 50 failed runs that were submitted last, without step runs.

    Args:
        project: the project of the runs.
        archived: search only the archive.

    Raises:
        UnknownRun: no run has failed.
        Unavailable, ArchiveUnavailable: Redis or the archive cannot be reached.
    """
    from runner.model.run_query import RunQuery  # start-up time: most commands name their run

    query = RunQuery(state=[State.FAILURE], archived=archived)
    failed = project.records.page(query, limit=_FAILURES).runs
    if not failed:
        raise UnknownRun("no run has failed", hint="name a run by its id or as @JOB; runner runs lists the ids")
    return max(failed, key=lambda run: run.finished_at or "")


def list_runs(project: Project, query: RunQuery, *, limit: int = 20, cursor: str | None = None) -> Page:
    """Return a page of the matching runs of the ledger and the archive.

    Args:
        project: the project of the runs.
        query: the filters and the order.
        limit: the most runs of a page.
        cursor: the cursor that the previous page ended with.

    Raises:
        UsageError: the cursor is not valid, or the run named as a flow is not a flow.
        UnknownJob: no run matches, and no job has the requested name.
        UnknownRun, AmbiguousId: no flow or backfill has that id, or more than one.
        Unavailable: Redis cannot be reached.
        ArchiveUnavailable: the archive cannot be reached, and the query is for archived runs only.
    """
    page = project.records.page(with_full_ids(project, query), limit=limit, cursor=cursor)
    if not page.runs and query.job is not None:
        require_known(project, query.job)  # a typo must not look like an empty list
    if not page.runs and cursor is None and query.backfill is not None and not query.archived:
        _find_backfill(project, query.backfill)  # neither must an unknown id
    return page


def with_full_ids(project: Project, query: RunQuery) -> RunQuery:
    """Return a query with the full ids of the flow and the backfill that it names.

    An unknown backfill is left as it is: its record may be gone, and its runs are still there.

    Raises:
        UsageError: the run named as a flow is not a flow.
        UnknownRun, AmbiguousId: no flow has that id, or more than one; or several backfills match.
        Unavailable: Redis cannot be reached.
    """
    if query.flow is not None:
        query = replace(query, flow=_find_flow(project, query.flow, query.archived))
    if query.backfill is not None and len(query.backfill) < _FULL_ID:
        with suppress(UnknownRun):
            query = replace(query, backfill=_find_backfill(project, query.backfill))
    return query


def require_known(project: Project, name: str) -> None:
    """Check that ``name`` is a job, or a step such as ``nightly/load``.

    Raises:
        UnknownJob: it is neither, or the runs of that step have the name of the step's own job.
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


def _find_backfill(project: Project, reference: str) -> str:
    from runner.ledger.backfills import find_backfill  # start-up time: few lists are of one backfill

    return find_backfill(project.ledger, reference).id


def _find_flow(project: Project, reference: str, archived: bool) -> str:
    run = find_run(project, reference, archived=archived)
    if run.steps is None:
        raise UsageError(f"run {run.id} of {run.job} is not a flow", hint="name the run of a job with steps")
    return run.id
