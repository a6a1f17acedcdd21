"""What the forms of the dashboard do: submit, revoke, rerun, forget, pause; and who comes and goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from runner.actions.forget import forget
from runner.actions.pause import pause, resume
from runner.actions.rerun import rerun
from runner.actions.revoke import revoke
from runner.actions.submit import submit
from runner.errors import RunnerError
from runner.model.pause import ALL
from runner.web.access import SESSION_SECONDS, NotAllowed, Person, Role
from runner.web.guard import SESSION, address_of, is_secure
from runner.web.jobs import form_of
from runner.web.pages import job_page
from runner.web.render import page
from runner.web.requests import seconds, state_of

router = APIRouter(include_in_schema=False)


def _check_form(request: Request, role: Role, token: str) -> Person:
    person: Person | None = request.state.person
    if person is None or person.role < role:
        raise NotAllowed(f"this needs {role.name.lower()}")
    if not state_of(request).access.is_form_token(person, token):
        raise NotAllowed("the form is too old", hint="load the page again")
    return person


def _back(path: str) -> Response:
    return RedirectResponse(path, 303)


@router.post("/jobs/{name}/submit")
async def submit_form(name: str, request: Request) -> Response:
    """Submit a run from a form."""
    form = await request.form()
    person = _check_form(request, Role.OPERATE, str(form.get("csrf", "")))
    # Its fields are those of the job, so it is read here, and the rest is done where waiting keeps nobody else.
    return await run_in_threadpool(_submit, name, request, person, {key: str(value) for key, value in form.items()})


def _submit(name: str, request: Request, person: Person, form: Mapping[str, str]) -> Response:
    project = state_of(request).project
    job = project.catalog.get(name)
    words = [f"{key}={value}" for key in job.params if (value := form.get(f"param-{key}", "")) != ""]
    try:
        made = submit(project, name, words=words, trigger="web", by=person.name, force=form.get("force") == "on")
    except RunnerError as error:
        fields = form_of(job, {key: form.get(f"param-{key}", "") for key in job.params})
        return job_page(request, job, fields, error, 422)
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
