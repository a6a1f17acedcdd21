"""The forms of the dashboard: submit, backfill, revoke, rerun, approve, reject, forget, pause, login, and logout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from runner.actions.approve import approve
from runner.actions.backfill import MOST_AT_ONCE, backfill
from runner.actions.forget import forget
from runner.actions.pause import pause, resume
from runner.actions.rerun import rerun
from runner.actions.revoke import revoke
from runner.actions.submit import recorded, submit
from runner.errors import InvalidParams, RunnerError, UsageError
from runner.model.duration import format_size
from runner.model.pause import ALL
from runner.model.submit_options import SubmitOptions
from runner.web.access import Person, Role
from runner.web.asked import ask_query
from runner.web.guard import MOST_QUERY, address_of, keep_session, session_cookie
from runner.web.job_page import BackfillForm, job_page
from runner.web.jobs import form_of
from runner.web.render import page
from runner.web.requests import JobName, Reader, Reference, check_form, seconds, state_of
from runner.web.state import base_of, states_of

router = APIRouter(include_in_schema=False, dependencies=[Reader])
door = APIRouter(include_in_schema=False)
"""Routes for people who have not logged in yet."""

Csrf = Annotated[str, Form(max_length=128)]
Flag = Annotated[str, Form(max_length=8)]
Comment = Annotated[str, Form(max_length=1000)]
Back = Annotated[str, Form(max_length=16)]
MOST_FIELDS = 1000
LISTS = ("/", "/jobs")
"""Pages from which jobs are paused and resumed, and that are shown again after that."""


def _back(request: Request, path: str) -> Response:
    return RedirectResponse(f"{base_of(request)}{path}", 303)


@router.post("/jobs/{name}/submit")
async def submit_form(name: JobName, request: Request) -> Response:
    """Submit a run from a form."""
    form = await request.form(max_files=0, max_fields=MOST_FIELDS)
    if len(form) > MOST_FIELDS:
        raise HTTPException(413, f"a form has {MOST_FIELDS} fields at most")
    person = check_form(request, Role.OPERATE, str(form.get("csrf", "")))
    # The fields depend on the job, so the form is read here; the rest may wait for Redis, so a thread does it.
    typed = {key: [str(value) for value in form.getlist(key)] for key in form}
    return await run_in_threadpool(_submit, name, request, person, typed)


def _submit(name: str, request: Request, person: Person, typed: Mapping[str, list[str]]) -> Response:
    project = state_of(request).project
    job = project.catalog.get(name)
    params = {key: text for key in job.params if (text := typed.get(f"param-{key}", [""])[-1]) != ""}
    assignments = [f"{key}={text}" for key, text in params.items()]
    try:
        _check_lengths(assignments, project.settings.limits.params)
        options = ask_query(SubmitOptions, typed, project.settings.timezone)
        made = recorded(
            lambda: submit(project, name, assignments=assignments, options=options, trigger="web", by=person.name)
        )
    except RunnerError as error:
        given = {key: params.get(key, "") for key in job.params}
        return job_page(request, job, form_of(job, given), error, 422, typed)
    return _back(request, f"/runs/{made.id}")


def _check_lengths(assignments: list[str], most: int) -> None:
    """Refuse fields that are too long for params, before they are parsed."""
    for assignment in assignments:
        if len(assignment) > most:
            name = assignment.partition("=")[0]
            raise InvalidParams(
                f"{name}: has {len(assignment):,} characters, but all params together may have {format_size(most)}",
                hint="raise limits.params in runner.yaml, or pass the name of a file",
            )


@router.post("/jobs/{name}/backfill")
def backfill_form(
    name: JobName,
    request: Request,
    begin: Annotated[str, Form(alias="from", max_length=64)] = "",
    end: Annotated[str, Form(alias="to", max_length=64)] = "",
    at_once: Annotated[str, Form(max_length=8)] = "",
    again: Flag = "",
    look: Flag = "",
    csrf: Csrf = "",
) -> Response:
    """Submit a run for each slot of a range, or show the slots first."""
    person = check_form(request, Role.OPERATE, csrf)
    project = state_of(request).project
    job = project.catalog.get(name)
    typed = {"from": begin, "to": end, "at_once": at_once, "again": again}
    try:
        limit = _whole(at_once, "at once")
        found = backfill(
            project, name, begin, end, at_once=limit, again=again == "on", dry_run=look != "", by=person.name
        )
    except RunnerError as error:
        return job_page(request, job, form_of(job), None, 422, backfill=BackfillForm(typed, error))
    if look or not found.submitted:
        return job_page(request, job, form_of(job), None, 200, backfill=BackfillForm(typed, found=found))
    return _back(request, f"/runs?backfill={found.backfill.id}")


def _whole(text: str, name: str) -> int | None:
    if not text.strip():
        return None
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise UsageError(f"{name} {text!r} is not a whole number", hint=f"use 1 to {MOST_AT_ONCE:,}")
    return int(text)


@router.post("/runs/{reference}/revoke")
def revoke_form(
    reference: Reference,
    request: Request,
    csrf: Csrf = "",
    terminate: Flag = "",
    comment: Comment = "",
) -> Response:
    """Revoke a run, and terminate it if asked to."""
    person = check_form(request, Role.OPERATE, csrf)
    run, _ = revoke(
        state_of(request).project, reference, terminate=terminate == "on", comment=comment or None, by=person.name
    )
    return _back(request, f"/runs/{run.id}")


@router.post("/runs/{reference}/rerun")
def rerun_form(reference: Reference, request: Request, csrf: Csrf = "", from_failed: Flag = "") -> Response:
    """Run a finished run again; with ``from_failed``, only the steps of a flow that have not succeeded."""
    person = check_form(request, Role.OPERATE, csrf)
    project = state_of(request).project
    made = recorded(lambda: rerun(project, reference, from_failed=from_failed == "on", by=person.name))
    return _back(request, f"/runs/{made.id}")


@router.post("/runs/{reference}/approve")
def approve_form(reference: Reference, request: Request, csrf: Csrf = "", comment: Comment = "") -> Response:
    """Approve a step that waits for it."""
    return _answer_approval(reference, request, csrf, comment, approved=True)


@router.post("/runs/{reference}/reject")
def reject_form(reference: Reference, request: Request, csrf: Csrf = "", comment: Comment = "") -> Response:
    """Reject a step that waits for approval."""
    return _answer_approval(reference, request, csrf, comment, approved=False)


def _answer_approval(reference: str, request: Request, csrf: str, comment: str, *, approved: bool) -> Response:
    person = check_form(request, Role.OPERATE, csrf)
    project = state_of(request).project
    run = approve(project, reference, approved=approved, comment=comment or None, by=person.name)
    return _back(request, f"/runs/{quote(run.flow or run.id)}")


@router.post("/runs/{reference}/forget")
def forget_form(reference: Reference, request: Request, csrf: Csrf = "") -> Response:
    """Forget a finished run."""
    person = check_form(request, Role.ADMIN, csrf)
    forget(state_of(request).project, reference, by=person.name)
    return _back(request, "/runs")


@router.post("/jobs/{name}/pause")
def pause_form(
    name: JobName,
    request: Request,
    csrf: Csrf = "",
    duration: Annotated[str, Form(max_length=32)] = "",
    comment: Comment = "",
    to: Back = "",
) -> Response:
    """Pause a job, or all jobs."""
    person = check_form(request, Role.ADMIN, csrf)
    length = seconds(duration or None, "for")
    pause(state_of(request).project, name, seconds=length, comment=comment or None, by=person.name)
    return _back(request, to if to in LISTS else "/" if name == ALL else f"/jobs/{quote(name)}")


@router.post("/jobs/{name}/resume")
def resume_form(name: JobName, request: Request, csrf: Csrf = "", to: Back = "") -> Response:
    """Resume a job, or all jobs."""
    person = check_form(request, Role.ADMIN, csrf)
    resume(state_of(request).project, name, by=person.name)
    return _back(request, to if to in LISTS else "/" if name == ALL else f"/jobs/{quote(name)}")


# -- who


def _login(request: Request, to: str, *, failed: bool = False, link: bool = False) -> Response:
    starts = states_of(request).access.start_token is not None
    return page(request, "login", 401 if failed else 200, to=to, failed=failed, link=link, starts=starts)


@door.get("/login")
def show_login(
    request: Request,
    to: Annotated[str, Query(max_length=MOST_QUERY)] = "/",
    link: Annotated[str, Query(max_length=8)] = "",
) -> Response:
    """Ask for a token."""
    return _login(request, to, link=link != "")


@door.post("/login")
def log_in(
    request: Request,
    token: Annotated[str, Form(max_length=200)] = "",
    to: Annotated[str, Form(max_length=MOST_QUERY)] = "/",
) -> Response:
    """Begin a session."""
    session = states_of(request).access.log_in(token.strip(), address_of(request))
    if session is None:
        return _login(request, to, failed=True)
    # Only to a page of this host: `//elsewhere` is another one.
    response = RedirectResponse(to if to.startswith("/") and not to.startswith(("//", "/\\")) else "/", 303)
    keep_session(request, response, session)
    return response


@router.post("/logout")
def log_out(request: Request, csrf: Csrf = "") -> Response:
    """End the session."""
    person = check_form(request, Role.READ, csrf)
    states_of(request).access.log_out(person.session)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(session_cookie(request))
    return response
