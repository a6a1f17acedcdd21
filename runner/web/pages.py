"""The pages of the dashboard: rendered here, readable without JavaScript."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from runner.actions.find import find_id
from runner.actions.forget import forget
from runner.actions.logs import read_log
from runner.actions.metrics import deadlines
from runner.actions.pause import pause, resume
from runner.actions.rerun import rerun
from runner.actions.revoke import revoke
from runner.actions.submit import submit
from runner.actions.upcoming import upcoming
from runner.errors import RunnerError
from runner.ledger.health.successes import overdue_successes
from runner.ledger.pauses import read_pauses
from runner.ledger.search import Query as Search
from runner.ledger.search import search
from runner.model.pause import ALL, paused
from runner.model.run import State as RunState
from runner.web import overview
from runner.web.access import SESSION_SECONDS, NotAllowed, Person, Role
from runner.web.guard import SESSION, address_of, is_secure
from runner.web.jobs import form_of, job_yaml
from runner.web.moments import FILTERS
from runner.web.overview import bars, hours
from runner.web.requests import read_states, seconds, state_of

router = APIRouter(include_in_schema=False)

LOG_LINES = 500
HISTORY = 50
ROWS = 50
DAYS = 7

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
        quote=lambda text: quote(str(text), safe=""),
        project=state_of(request).project.settings.project.name,
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
    project = state_of(request).project
    ledger = project.ledger
    now = time.time()
    running = search(ledger, Search(states=(RunState.STARTED,)), limit=20).runs
    failed = search(ledger, Search(states=(RunState.FAILURE,), since=now - 86400), limit=20).runs
    return page(
        request,
        "overview",
        running=running,
        failed=failed,
        counts=overview.counts(ledger),
        hours=hours(overview.by_hour(ledger, now)),
        next_runs=_next_runs(project, 10),
        workers=ledger.workers(),
        queues=overview.queues(ledger),
        pauses=[each.document() for each in read_pauses(ledger).values()],
        overdue=_overdue(project),
        problems=project.catalog.problems,
    )


def _overdue(project: Any, job: str | None = None) -> list[str]:
    """Return the jobs, or that one, that have not succeeded for longer than ``alert_if_no_success``."""
    limits = {name: limit for name, limit in deadlines(project.catalog).items() if job in (None, name)}
    return [name for name, late in overdue_successes(project.ledger, limits).items() if late]


def _next_runs(project: Any, most: int, job: str | None = None, days: int = DAYS) -> list[Any]:
    now = time.time()
    found = []
    for each in upcoming(project, since=now, until=now + days * 86400, job=job):
        found.append(each)
        if len(found) >= most:
            break
    return found


@router.get("/jobs")
def show_jobs(request: Request, q: Annotated[str, Query(max_length=100)] = "") -> Response:
    """All jobs."""
    project = state_of(request).project
    catalog = project.catalog
    names = [name for name in sorted(catalog.jobs) if q.lower() in name]
    shown = names[:1000]
    latest = overview.latest(project.ledger, shown)
    pauses = read_pauses(project.ledger)
    rows = [(catalog.jobs[name], latest.get(name), paused(pauses, name)) for name in shown]
    return page(request, "jobs", rows=rows, total=len(names), problems=catalog.problems, q=q)


@router.get("/jobs/{name}")
def show_job(name: str, request: Request, like: Annotated[str | None, Query(max_length=128)] = None) -> Response:
    """One job: its spec, a form to submit it, its next runs, its history."""
    project = state_of(request).project
    job = project.catalog.get(name)
    given = project.ledger.get(find_id(project, like, reading=False)).params if like else None
    return _job_page(request, job, form_of(job, given), None, 200)


def _job_page(request: Request, job: Any, form: list[Any], error: RunnerError | None, status: int) -> Response:
    project = state_of(request).project
    history = search(project.ledger, Search(job=job.name), limit=HISTORY).runs
    pause_of = paused(read_pauses(project.ledger), job.name)
    return page(
        request,
        "job",
        status,
        job=job,
        yaml=job_yaml(job),
        form=form,
        error=error,
        history=history,
        bars=bars(history),
        next_runs=_next_runs(project, 5, job.name) if job.schedule else [],
        pause=pause_of.document() if pause_of is not None else None,
        overdue=_overdue(project, job.name),
    )


@router.get("/runs")
def show_runs(
    request: Request,
    job: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[str, Query(max_length=16)] = "",
    since: Annotated[str, Query(max_length=32)] = "",
    tag: Annotated[str, Query(max_length=64)] = "",
    trigger: Annotated[str, Query(max_length=16)] = "",
    text: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Runs, newest first, a page at a time."""
    project = state_of(request).project
    back = seconds(since or None, "since")
    wanted = Search(
        job=job or None,
        states=read_states([state] if state else []),
        since=time.time() - back if back is not None else None,
        tag=tag or None,
        trigger=trigger or None,
        text=text or None,
    )
    found = search(project.ledger, wanted, limit=ROWS, cursor=cursor)
    filters = {"job": job, "state": state, "since": since, "tag": tag, "trigger": trigger, "text": text}
    kept = {key: value for key, value in filters.items() if value}
    more = "/runs?" + urlencode({**kept, "cursor": found.cursor}) if found.cursor else None
    names = sorted(project.catalog.jobs)[:1000]
    return page(request, "runs", runs=found.runs, more=more, names=names, states=list(RunState), **filters)


@router.get("/runs/{reference}")
def show_run(reference: str, request: Request) -> Response:
    """One run: what it did, attempt by attempt, and what it wrote."""
    project = state_of(request).project
    run = project.ledger.get(find_id(project, reference))
    lines = list(read_log(project, run.id, tail=LOG_LINES))
    known = run.job in project.catalog.jobs
    return page(request, "run", run=run, document=run.document(), lines=lines, known=known)


@router.get("/schedule")
def show_schedule(request: Request) -> Response:
    """The runs to come, day by day."""
    days: dict[str, list[Any]] = {}
    for each in _next_runs(state_of(request).project, 500):
        days.setdefault(FILTERS["day"](each.start), []).append(each)
    return page(request, "schedule", days=days)


@router.get("/fleet")
def show_fleet(request: Request) -> Response:
    """Workers and queues."""
    ledger = state_of(request).project.ledger
    return page(request, "fleet", workers=ledger.workers(), queues=overview.queues(ledger))


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
