"""The pages of the dashboard: rendered here, readable without JavaScript."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from runner.actions.find import find_id
from runner.actions.forget import forget
from runner.actions.logs import read_log
from runner.actions.metrics import deadlines
from runner.actions.pause import pause, resume
from runner.actions.rerun import rerun
from runner.actions.revoke import revoke
from runner.actions.stats import stats
from runner.actions.submit import submit
from runner.actions.why import why
from runner.errors import RunnerError, UsageError
from runner.ledger.fleet import read_queues, read_workers
from runner.ledger.health.successes import overdue_successes
from runner.ledger.pauses import read_pauses
from runner.ledger.run_log import RunLog
from runner.ledger.search import Page, search
from runner.ledger.search import Query as Search
from runner.model.job import JobSpec
from runner.model.log_line import LogLine
from runner.model.pause import ALL, paused
from runner.model.run import FailureReason, RevokedReason, Trigger, to_timestamp
from runner.model.run import State as RunState
from runner.model.schedule import SCHEDULES
from runner.web import overview
from runner.web.access import SESSION_SECONDS, NotAllowed, Person, Role
from runner.web.calendar import schedule_text
from runner.web.filters import Filters
from runner.web.guard import SESSION, address_of, is_secure
from runner.web.jobs import form_of, job_source, job_yaml
from runner.web.moments import FILTERS
from runner.web.overview import bars, hours
from runner.web.requests import seconds, state_of

router = APIRouter(include_in_schema=False)

LOG_LINES = 1000
HISTORY = 50
ROWS = 50
FEW = 10
JOBS = 200
A_DAY = 40
"""Runs that the calendar shows of one day of a week."""
AN_HOUR = 4
"""Times of one job in an hour that are shown one by one."""

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(FILTERS)


def page(request: Request, name: str, http_status: int = 200, /, **values: Any) -> HTMLResponse:
    """Render a page."""
    person: Person | None = getattr(request.state, "person", None)
    access = state_of(request).access
    html = _templates.get_template(f"{name}.html").render(
        person=person,
        may=lambda role: person is not None and person.role >= Role[role.upper()],
        csrf=access.form_token(person) if person is not None else "",
        has_login=not access.open,
        path=request.url.path,
        zone=ZoneInfo(state_of(request).settings.timezone),
        quote=lambda text: quote(str(text), safe=""),
        project=state_of(request).settings.project.name,
        **values,
    )
    # What a job wrote may hold what UTF-8 has no way to write, such as a name of a file that is none.
    return HTMLResponse(html.encode("utf-8", "backslashreplace"), http_status)


def error_page(request: Request, message: str, hint: str | None, status: int) -> Response:
    """Render what went wrong, and what to do about it."""
    return page(request, "error", status, message=message, hint=hint, status=status)


def _check_form(request: Request, role: Role, token: str) -> Person:
    person: Person | None = request.state.person
    if person is None or person.role < role:
        raise NotAllowed(f"this needs {role.name.lower()}")
    if not state_of(request).access.is_form_token(person, token):
        raise NotAllowed("the form is too old", hint="load the page again")
    return person


def _back(path: str) -> Response:
    return RedirectResponse(path, 303)


# -- looking


@router.get("/")
def show_overview(request: Request) -> Response:
    """What runs now, what failed lately, what comes next, who works."""
    state = state_of(request)
    project, ledger = state.project, state.project.ledger
    now = time.time()
    running = search(ledger, Search(states=(RunState.STARTED,)), limit=FEW).runs
    failed = search(ledger, Search(states=(RunState.FAILURE,), since=now - 86400), limit=FEW).runs
    return page(
        request,
        "overview",
        running=running,
        failed=failed,
        few=FEW,
        counts=overview.counts(ledger),
        hours=hours(overview.by_hour(ledger, now), state.calendar.zone),
        due=state.calendar.soonest(datetime.now(UTC), 10),
        schedules=state.settings.schedules,
        workers=read_workers(ledger),
        queues=read_queues(ledger),
        pauses=[each.document() for each in read_pauses(ledger).values()],
        overdue=_overdue(project),
        problems=project.catalog.problems,
    )


def _overdue(project: Any, job: str | None = None) -> list[str]:
    """Return the jobs, or that one, that have not succeeded for longer than ``alert_if_no_success``."""
    limits = {name: limit for name, limit in deadlines(project.catalog).items() if job in (None, name)}
    return [name for name, late in overdue_successes(project.ledger, limits).items() if late]


@router.get("/jobs")
def show_jobs(
    request: Request,
    q: Annotated[str, Query(max_length=100)] = "",
    tag: Annotated[str, Query(max_length=64)] = "",
    start: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """All jobs."""
    state = state_of(request)
    project, catalog, calendar = state.project, state.catalog, state.calendar
    names = sorted(catalog.jobs)
    if q or tag:
        names = [name for name in names if _mentions(catalog.jobs[name], q.lower(), tag)]
    shown = names[start : start + JOBS]
    latest = overview.latest(project.ledger, shown)
    pauses, now = read_pauses(project.ledger), datetime.now(UTC)
    rows = [(catalog.jobs[name], latest.get(name), paused(pauses, name), calendar.next_of(name, now)) for name in shown]
    kept = {key: value for key, value in (("q", q), ("tag", tag)) if value}

    def at(first: int) -> str:
        return "/jobs?" + urlencode({**kept, "start": first})

    return page(
        request,
        "jobs",
        rows=rows,
        total=len(names),
        first=start + 1,
        before=at(max(0, start - JOBS)) if start else None,
        after=at(start + JOBS) if start + JOBS < len(names) else None,
        broken=catalog.broken,
        problems=catalog.problems,
        warnings=catalog.warnings,
        q=q,
        tag=tag,
    )


def _mentions(job: JobSpec, text: str, tag: str) -> bool:
    return (not tag or tag in job.tags) and (text in job.name or text in (job.description or "").lower())


@router.get("/jobs/{name}")
def show_job(name: str, request: Request, like: Annotated[str | None, Query(max_length=128)] = None) -> Response:
    """One job: its spec, a form to submit it, its next runs, its history."""
    project = state_of(request).project
    job = project.catalog.jobs.get(name)
    if job is None:
        return _gone_page(request, name)
    given = project.ledger.get(find_id(project, like, reading=False)).params if like else None
    return _job_page(request, job, form_of(job, given), None, 200)


def _gone_page(request: Request, name: str) -> Response:
    """What is known of a job that is declared no more, or wrongly: its runs, and what is wrong."""
    project = state_of(request).project
    history = search(project.ledger, Search(job=name), limit=HISTORY).runs
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


def _job_page(request: Request, job: JobSpec, form: list[Any], error: RunnerError | None, status: int) -> Response:
    state = state_of(request)
    project = state.project
    history = search(project.ledger, Search(job=job.name), limit=HISTORY).runs
    pause_of = paused(read_pauses(project.ledger), job.name)
    return page(
        request,
        "job",
        status,
        job=job,
        source=job_source(state.settings.project, job),
        yaml=job_yaml(job),
        form=form,
        error=error,
        history=history,
        bars=bars(history),
        stats=stats(project, job.name)[0],
        due=state.calendar.coming(job.name, datetime.now(UTC), 5) if job.schedule else [],
        schedules=state.settings.schedules,
        pause=pause_of.document() if pause_of is not None else None,
        overdue=_overdue(project, job.name),
    )


@router.get("/runs")
def show_runs(request: Request, asked: Annotated[Filters, Query()]) -> Response:
    """Runs, a page at a time."""
    state = state_of(request)
    try:
        wanted = asked.search(state.settings.timezone)
        found = search(state.project.ledger, wanted, limit=ROWS, cursor=asked.cursor or None)
        error = None
    except UsageError as refused:
        found, error = Page([], None, 0, None, cut=False), refused
    longest = asked.order == "longest"
    return page(
        request,
        "runs",
        422 if error else 200,
        found=found,
        asked=asked,
        error=error,
        more=f"/runs?{asked.words(cursor=found.cursor)}" if found.cursor and not longest else None,
        newest=f"/runs?{asked.words()}" if asked.cursor else None,
        names=sorted(state.catalog.jobs)[:1000],
        states=list(RunState),
        reasons=[str(each) for kind in (FailureReason, RevokedReason) for each in kind],
        triggers=get_args(Trigger),
    )


@router.get("/runs/{reference}")
def show_run(reference: str, request: Request) -> Response:
    """One run: what it did, attempt by attempt, and what it wrote."""
    project = state_of(request).project
    facts, explanation = why(project, reference)
    run = facts.run
    log = RunLog(project.ledger, run.id)
    count, lines = 0, deque[LogLine](maxlen=LOG_LINES)
    for line in log.lines():
        count += 1
        lines.append(line)
    known = run.job in project.catalog.jobs
    return page(
        request,
        "run",
        run=run,
        explanation=explanation,
        document=run.document(),
        lines=lines,
        count=count,
        last=log.last,
        known=known,
    )


@router.get("/runs/{reference}/log")
def show_log(reference: str, request: Request) -> Response:
    """All that a run wrote, as text."""
    project = state_of(request).project
    run = project.ledger.get(find_id(project, reference, reading=False))
    text = (f"{to_timestamp(line.at)} #{line.attempt} {line.text}\n" for line in read_log(project, run.id))
    return StreamingResponse(text, media_type="text/plain; charset=utf-8")


@router.get("/schedule")
def show_schedule(request: Request, day: date | None = None) -> Response:
    """The runs to come: a week, day by day."""
    state = state_of(request)
    calendar, today = state.calendar, state.calendar.today(datetime.now(UTC))
    first = min(max(day or today, date(2000, 1, 1)), date(2999, 1, 1))
    week = [first + timedelta(days=number) for number in range(7)]
    days = [(each, *calendar.day(each)) for each in week]
    often = {name for _, _, names in days for name in names}
    jobs = state.catalog.jobs
    return page(
        request,
        "schedule",
        days=days,
        often=[(jobs[name], schedule_text(SCHEDULES.write(jobs[name].schedule))) for name in sorted(often)],
        today=today,
        now=datetime.now(UTC),
        before=first - timedelta(days=7),
        after=first + timedelta(days=7),
        most=A_DAY,
        schedules=state.settings.schedules,
        pauses=read_pauses(state.project.ledger),
    )


@router.get("/schedule/{day}")
def show_day(day: date, request: Request) -> Response:
    """All runs of a day, hour by hour."""
    state = state_of(request)
    return page(
        request,
        "day",
        day=day,
        hours=state.calendar.hours(day),
        before=day - timedelta(days=1),
        after=day + timedelta(days=1),
        few=AN_HOUR,
        schedules=state.settings.schedules,
    )


@router.get("/fleet")
def show_fleet(request: Request) -> Response:
    """Workers and queues."""
    ledger = state_of(request).project.ledger
    return page(request, "fleet", workers=read_workers(ledger), queues=read_queues(ledger))


# -- acting


@router.post("/jobs/{name}/submit")
async def submit_form(name: str, request: Request) -> Response:
    """Submit a run from a form."""
    form = await request.form()
    person = _check_form(request, Role.OPERATE, str(form.get("csrf", "")))
    from starlette.concurrency import run_in_threadpool  # the one page that must read a form of unknown fields

    return await run_in_threadpool(_submit, name, request, person, {key: str(value) for key, value in form.items()})


def _submit(name: str, request: Request, person: Person, form: Mapping[str, str]) -> Response:
    project = state_of(request).project
    job = project.catalog.get(name)
    words = [f"{key}={value}" for key in job.params if (value := form.get(f"param-{key}", "")) != ""]
    try:
        made = submit(project, name, words=words, trigger="web", by=person.name, force=form.get("force") == "on")
    except RunnerError as error:
        fields = form_of(job, {key: form.get(f"param-{key}", "") for key in job.params})
        return _job_page(request, job, fields, error, 422)
    return _back(f"/runs/{made.id}")


@router.post("/runs/{reference}/revoke")
def revoke_form(
    reference: str,
    request: Request,
    csrf: Annotated[str, Form()] = "",
    terminate: Annotated[str, Form()] = "",
    comment: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Revoke a run."""
    person = _check_form(request, Role.OPERATE, csrf)
    run, _ = revoke(
        state_of(request).project, reference, terminate=terminate == "on", comment=comment or None, by=person.name
    )
    return _back(f"/runs/{run.id}")


@router.post("/runs/{reference}/rerun")
def rerun_form(reference: str, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
    """Run it again."""
    person = _check_form(request, Role.OPERATE, csrf)
    return _back(f"/runs/{rerun(state_of(request).project, reference, by=person.name).id}")


@router.post("/runs/{reference}/forget")
def forget_form(reference: str, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
    """Forget a finished run."""
    person = _check_form(request, Role.ADMIN, csrf)
    forget(state_of(request).project, reference, by=person.name)
    return _back("/runs")


@router.post("/jobs/{name}/pause")
def pause_form(
    name: str,
    request: Request,
    csrf: Annotated[str, Form()] = "",
    duration: Annotated[str, Form(max_length=32)] = "",
    comment: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Hold a job."""
    person = _check_form(request, Role.ADMIN, csrf)
    length = seconds(duration or None, "for")
    pause(state_of(request).project, name, seconds=length, comment=comment or None, by=person.name)
    return _back("/" if name == ALL else f"/jobs/{quote(name)}")


@router.post("/jobs/{name}/resume")
def resume_form(name: str, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
    """Let a job go on."""
    person = _check_form(request, Role.ADMIN, csrf)
    resume(state_of(request).project, name, by=person.name)
    return _back("/" if name == ALL else f"/jobs/{quote(name)}")


# -- who


@router.get("/login")
def show_login(request: Request, to: Annotated[str, Query(max_length=500)] = "/") -> Response:
    """Ask for a token."""
    return page(request, "login", to=to, failed=False)


@router.post("/login")
def log_in(
    request: Request, token: Annotated[str, Form(max_length=200)] = "", to: Annotated[str, Form(max_length=500)] = "/"
) -> Response:
    """Begin a session."""
    session = state_of(request).access.log_in(token.strip(), address_of(request))
    if session is None:
        return page(request, "login", 401, to=to, failed=True)
    # Only to a page of ours: `//elsewhere` is another host.
    response = _back(to if to.startswith("/") and not to.startswith(("//", "/\\")) else "/")
    # Not strict: who comes by a link in a message stays logged in. Looking changes nothing, and what does has a token.
    response.set_cookie(
        SESSION,
        session,
        httponly=True,
        samesite="lax",
        secure=is_secure(request),
        max_age=round(SESSION_SECONDS),
    )
    return response


@router.post("/logout")
def log_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
    """End the session."""
    person = _check_form(request, Role.READ, csrf)
    state_of(request).access.log_out(person.session)
    response = _back("/login")
    response.delete_cookie(SESSION)
    return response
