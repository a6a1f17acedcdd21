"""The pages of the dashboard. Each one is complete when it arrives, and readable without JavaScript."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from runner._dataclass import dataclass
from runner.actions.backfill import MOST_AT_ONCE, Backfilled
from runner.actions.find import find_run, with_flow
from runner.actions.logs import log_of, read_log
from runner.actions.stats import stats
from runner.actions.why import why
from runner.errors import AmbiguousId, ArchiveUnavailable, RunnerError, UnknownRun, UsageError
from runner.ledger.fleet import read_queues, read_workers
from runner.ledger.pauses import read_pauses
from runner.ledger.run_log import RunLog
from runner.ledger.search import Page
from runner.model.asking import given_texts
from runner.model.job import JobSpec
from runner.model.log_line import LogLine
from runner.model.moment import read_day
from runner.model.pause import paused
from runner.model.run import to_timestamp
from runner.model.run_query import RunQuery
from runner.model.schedule import schedule_text
from runner.model.submit_options import SubmitOptions
from runner.web.asked import fields_of
from runner.web.filters import Filters
from runner.web.flows import approvals_of, declared_graph, flow_page, shown_document
from runner.web.home import overdue_jobs, read_home
from runner.web.job_rows import FILTERS, Standings, read_rows
from runner.web.jobs import Field, form_of, job_source, job_yaml
from runner.web.overview import bars
from runner.web.projects import show_all
from runner.web.render import page
from runner.web.requests import JobName, Reader, ReadReference, state_of
from runner.web.state import states_of
from runner.web.steps import MOST_ROWS, items_href

router = APIRouter(include_in_schema=False, dependencies=[Reader])

LOG_LINES = 1000
HISTORY = 50
ROWS = 50
JOBS = 50
TAGS = 12
"""Tags that the list of jobs offers, those that most jobs have."""
A_DAY = 40
"""Runs that the calendar shows of one day of a week."""
AN_HOUR = 4
"""Times of one job in an hour that are shown one by one."""
SLOTS = 50
"""Slots of a backfill that are shown before they are submitted."""


@dataclass(frozen=True, slots=True)
class Past:
    """The form of a backfill: what was typed, and what is wrong with it or would be submitted."""

    typed: Mapping[str, str]
    error: RunnerError | None = None
    found: Backfilled | None = None


@router.get("/")
def show_overview(request: Request) -> Response:
    """Show how the project is, what wants attention, and its jobs; or all projects, if there are several."""
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
    """Show all jobs, a page at a time, those that want attention first."""
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

    tags = Counter(each for job in catalog.jobs.values() for each in job.tags)
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
        tags=[(each, link(tag="" if each == tag else each)) for each, _ in tags.most_common(TAGS)],
        clear=link(q="", tag="", show=""),
        broken=catalog.broken,
        problems=catalog.problems,
        warnings=catalog.warnings,
        asked=asked,
    )


def _mentions(job: JobSpec, text: str, tag: str) -> bool:
    return (not tag or tag in job.tags) and (text in job.name.lower() or text in (job.description or "").lower())


@router.get("/jobs/{name}")
def show_job(name: JobName, request: Request, like: Annotated[str | None, Query(max_length=128)] = None) -> Response:
    """One job: its spec, a form to submit it, its next runs, its history."""
    project = state_of(request).project
    job = project.catalog.jobs.get(name)
    if job is None:
        return _gone_page(request, name)
    given = find_run(project, like, reading=False).params if like else None
    return job_page(request, job, form_of(job, given), None, 200)


def _gone_page(request: Request, name: str) -> Response:
    """Show a job that is no longer declared, or not correctly: its runs and its problems."""
    project = state_of(request).project
    history = project.records.page(RunQuery(job=name), limit=HISTORY).runs
    if not history and name not in project.catalog.broken:
        project.catalog.get(name)  # which says what was probably meant
    return page(
        request,
        "gone",
        name=name,
        history=history,
        bars=bars(history),
        at=project.catalog.broken.get(name),
        problems=[each for each in project.catalog.problems if f"jobs.{name}" in f"{each.path}."],
    )


def job_page(
    request: Request,
    job: JobSpec,
    form: list[Field],
    error: RunnerError | None,
    status: int,
    typed: Mapping[str, list[str]] | None = None,
    past: Past | None = None,
) -> Response:
    """Show a job, with what a form of it was sent with, and what is wrong with that."""
    state = state_of(request)
    project = state.project
    history = project.records.page(RunQuery(job=job.name), limit=HISTORY).runs
    pause_of = paused(read_pauses(project.ledger), job.name)
    now = datetime.now(UTC)
    due = state.calendar.coming(job.name, now, 5) if job.schedule else []
    figures = stats(project, job.name)[0]
    left_out = state.calendar.left_out_of(job.name, now, due[-1].start if due else now + timedelta(days=366), 5)
    return page(
        request,
        "job",
        status,
        job=job,
        source=job_source(state.settings.project, job),
        yaml=job_yaml(job),
        form=form,
        options=fields_of(SubmitOptions, typed or {}),
        asks=bool(given_texts(SubmitOptions, typed or {})),
        error=error,
        history=history,
        bars=bars(history),
        stats=figures,
        step_stats=figures.steps if len(figures.steps) <= MOST_ROWS else (),
        due=due,
        left_out=left_out,
        schedules=state.settings.schedules,
        pause=pause_of.document() if pause_of is not None else None,
        overdue=overdue_jobs(project, job.name),
        past=past or Past({}),
        drawing=declared_graph(job.steps),
        most_at_once=MOST_AT_ONCE,
        most_slots=SLOTS,
    )


@router.get("/runs")
def show_runs(request: Request) -> Response:
    """Runs, a page at a time."""
    state, asked = state_of(request), Filters.of(request)
    try:
        query = with_flow(state.project, asked.query(state.settings.timezone))
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


@router.get("/runs/{reference}")
def show_run(reference: ReadReference, request: Request, steps: Annotated[str, Query(max_length=8)] = "") -> Response:
    """One run: what it did, attempt by attempt, or step by step, and what it wrote."""
    project = state_of(request).project
    facts, explanation = why(project, reference)
    run = facts.run
    flow = flow_page(project, run, ZoneInfo(project.settings.timezone), whole=steps == "all")
    log = log_of(project, run)
    count, lines = 0, deque[LogLine](maxlen=LOG_LINES)
    if run.steps is None:  # a flow's page asks for it by itself
        for line in log.lines():
            count += 1
            lines.append(line)
    known = run.job in project.catalog.jobs
    return page(
        request,
        "run",
        run=run,
        explanation=explanation,
        document=shown_document(run),
        flow=flow,
        approvals=[] if run.archived else approvals_of(project.ledger, run, flow),
        items=items_href(run.flow, run.job) if run.flow is not None and run.item is not None else None,
        lines=lines,
        count=count,
        last=log.last if isinstance(log, RunLog) else None,
        known=known,
    )


@router.get("/runs/{reference}/log")
def show_log(reference: ReadReference, request: Request) -> Response:
    """All that a run wrote, or that the steps of a flow wrote, as text."""
    project = state_of(request).project
    run = find_run(project, reference, reading=False)
    text = (
        f"{to_timestamp(line.at)} {f'{line.step} ' if line.step else ''}#{line.attempt} {line.text}\n"
        for line in read_log(project, run.id)
    )
    return StreamingResponse(text, media_type="text/plain; charset=utf-8")


@router.get("/schedule")
def show_schedule(request: Request, day: Annotated[str, Query(max_length=32)] = "") -> Response:
    """The runs to come: a week, day by day."""
    state = state_of(request)
    calendar, today = state.calendar, state.calendar.today(datetime.now(UTC))
    first = read_day(day) if day else today
    week = [first + timedelta(days=number) for number in range(7)]
    days = [(each, *calendar.day(each), calendar.left_out(each)) for each in week]
    often = {name for _, _, names, _ in days for name in names}
    jobs = state.catalog.jobs
    return page(
        request,
        "schedule",
        days=days,
        often=[(jobs[name], schedule_text(jobs[name].schedule)) for name in sorted(often)],
        today=today,
        now=datetime.now(UTC),
        before=first - timedelta(days=7),
        after=first + timedelta(days=7),
        most=A_DAY,
        schedules=state.settings.schedules,
        pauses=read_pauses(state.project.ledger),
    )


@router.get("/schedule/{day}")
def show_day(day: Annotated[str, Path(max_length=32)], request: Request) -> Response:
    """All runs of a day, hour by hour."""
    state, shown = state_of(request), read_day(day)
    return page(
        request,
        "day",
        day=shown,
        hours=state.calendar.hours(shown),
        left_out=state.calendar.left_out(shown),
        before=shown - timedelta(days=1),
        after=shown + timedelta(days=1),
        few=AN_HOUR,
        schedules=state.settings.schedules,
    )


@router.get("/fleet")
def show_fleet(request: Request) -> Response:
    """Workers and queues."""
    ledger = state_of(request).project.ledger
    return page(request, "fleet", workers=read_workers(ledger), queues=read_queues(ledger))
