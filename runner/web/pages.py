"""The overview, and the lists of jobs, runs, workers, and queues. All pages are readable without JavaScript."""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from runner.actions.find import with_full_ids
from runner.errors import AmbiguousId, ArchiveUnavailable, UnknownRun, UsageError
from runner.ledger.fleet import read_queues, read_workers
from runner.ledger.search import Page
from runner.model.job import JobSpec
from runner.web.filters import Filters
from runner.web.home import read_home
from runner.web.job_rows import FILTERS, Standings, read_rows
from runner.web.projects import show_all
from runner.web.render import page
from runner.web.requests import Reader, state_of
from runner.web.state import states_of

router = APIRouter(include_in_schema=False, dependencies=[Reader])

ROWS = 50
JOBS = 40
TAGS = 12
"""How many tags the list of jobs offers as filters: the most common ones."""


@router.get("/")
def show_overview(request: Request) -> Response:
    """Show the overview of the project, or of all projects, if several are served and none is chosen."""
    if states_of(request).chosen(request) is None:
        return show_all(request)
    state = state_of(request)
    catalog = state.catalog
    return page(
        request,
        "overview",
        home=read_home(state),
        schedules=state.settings.schedules,
        problems=catalog.problems,
        total=len(catalog.jobs),
    )


@router.get("/jobs")
def show_jobs(
    request: Request,
    q: Annotated[str, Query(max_length=100)] = "",
    tag: Annotated[str, Query(max_length=64)] = "",
    show: Annotated[str, Query(max_length=16)] = "",
    start: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """Show a page of the jobs, failing and paused ones first."""
    state = state_of(request)
    catalog = state.catalog
    standings = Standings.read(state)
    mentioned = [name for name in catalog.jobs if _mentions(catalog.jobs[name], q.lower(), tag)]
    fits = FILTERS[show][1] if show in FILTERS else None
    names = standings.ordered([name for name in mentioned if fits is None or fits(standings, name)])
    asked = {"q": q, "tag": tag, "show": show if fits else ""}

    def link(**changed: str | int) -> str:
        kept = {key: value for key, value in {**asked, **changed}.items() if value}
        return "/jobs" + (f"?{urlencode(kept)}" if kept else "")

    tags = Counter(name for job in catalog.jobs.values() for name in job.tags)
    return page(
        request,
        "jobs",
        rows=read_rows(state.project.ledger, standings, names[start : start + JOBS], state.calendar),
        total=len(names),
        declared=len(catalog.jobs),
        first=start + 1,
        before=link(start=max(0, start - JOBS)) if start else None,
        after=link(start=start + JOBS) if start + JOBS < len(names) else None,
        everything=(len(mentioned), link(show="")),
        filters=[
            (key, label, sum(test(standings, name) for name in mentioned), link(show=key))
            for key, (label, test) in FILTERS.items()
        ],
        tags=[(name, link(tag="" if name == tag else name)) for name, _ in tags.most_common(TAGS)],
        clear=link(q="", tag="", show=""),
        broken=catalog.broken,
        problems=catalog.problems,
        warnings=catalog.warnings,
        asked=asked,
    )


def _mentions(job: JobSpec, text: str, tag: str) -> bool:
    return (not tag or tag in job.tags) and (text in job.name.lower() or text in (job.description or "").lower())


@router.get("/runs")
def show_runs(request: Request) -> Response:
    """Runs, a page at a time."""
    state, asked = state_of(request), Filters.of(request)
    try:
        query = with_full_ids(state.project, asked.query(state.settings.timezone))
        found = state.project.records.page(query, limit=ROWS, cursor=asked.cursor)
        error = None
    except (UsageError, UnknownRun, AmbiguousId, ArchiveUnavailable) as refused:
        found, error = Page([], None, 0, None, cut=False), refused
    return page(
        request,
        "runs",
        200 if error is None else 503 if isinstance(error, ArchiveUnavailable) else 422,
        found=found,
        asked=asked,
        error=error,
        no_runs=not asked.query_string() and not asked.cursor,
        more=f"/runs?{asked.query_string(cursor=found.cursor)}" if found.cursor else None,
        newest=f"/runs?{asked.query_string()}" if asked.cursor else None,
        names=sorted(state.catalog.jobs)[:1000],
    )


@router.get("/fleet")
def show_fleet(request: Request) -> Response:
    """Workers and queues."""
    ledger = state_of(request).project.ledger
    return page(request, "fleet", workers=read_workers(ledger), queues=read_queues(ledger))
