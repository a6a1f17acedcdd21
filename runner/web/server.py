"""The web application: its routes, the guard around them, and the responses to errors."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from runner._version import __version__
from runner.actions.projects import Projects
from runner.errors import RunnerError, Unavailable, UsageError
from runner.model.http_status import http_status
from runner.web import (
    api,
    api_backfills,
    api_editing,
    api_fleet,
    editing,
    forms,
    inbound,
    job_page,
    pages,
    projects,
    run_page,
    schedule_pages,
)
from runner.web.access import Access, NotAllowed
from runner.web.guard import HEADERS, Guard, headers_of, path_of, wants_json
from runner.web.journal import Journal
from runner.web.render import error_page
from runner.web.requests import BEARER, BadBody, Reader
from runner.web.state import States
from runner.web.switch import Switch

HERE = Path(__file__).parent

PAGES = (
    pages.router,
    job_page.router,
    run_page.router,
    schedule_pages.router,
    forms.router,
    editing.router,
    forms.door,
    inbound.router,
)
"""Routes that the OpenAPI document leaves out."""

ROUTERS = (
    api.router,
    api_fleet.router,
    api_backfills.router,
    api_editing.router,
    projects.router,
    api_fleet.health,
    *PAGES,
)

FORM_BYTES = 64 * 1024
"""How much larger a body may be than its params. Escaping makes params up to three times as large."""


class _Problem(RunnerError):
    """A request with an unknown path, a wrong method, or a broken body."""

    code = "http"
    exit_code = 2


class _Bug(RunnerError):
    """An unexpected error."""


OPENAPI = "/api/v1/openapi.json"


def create_web_app(projects: Projects, *, host: str, start_token: str | None = None) -> FastAPI:
    """Return the web application of one or several projects.

    Args:
        projects: the projects to show; the ``web`` section of the first one decides about access to all of them.
        host: the address that the server will listen on.
        start_token: a token that makes its owner an administrator as long as this application runs.

    Raises:
        InvalidSettings: anybody could get access.
    """
    app = FastAPI(
        title="runner",
        version=__version__,
        description="Jobs declared in YAML, run on Celery; the documents are those of the command line.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # added below, since FastAPI's route would need no login
        redirect_slashes=False,
    )
    journal = Journal(projects.first)
    access = Access(projects.first.settings.web, host, start_token, journal.failed)
    app.state.runner = states = States(projects, access, journal)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    for router in ROUTERS:
        # OpenAPI leaves out pages, and tokens if no login is needed.
        described = not access.open and router not in PAGES
        app.include_router(router, dependencies=[BEARER] if described else [])
    app.add_api_route(OPENAPI, lambda: JSONResponse(app.openapi()), dependencies=[Reader], include_in_schema=False)
    most = 3 * max(project.settings.limits.params for project in projects.by_name.values()) + FORM_BYTES
    app.add_middleware(Guard, access=access, most=most, refuse=_refused)
    app.add_middleware(Switch, states=states)  # the last one is the outermost
    app.exception_handler(RunnerError)(_refused)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_refused)
    app.exception_handler(Exception)(_refused)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Return the response to an error: for programs as JSON, as the command line prints it; for people as a page."""
    known, status, headers = _described(error)
    if status == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    if wants_json(request):
        return JSONResponse(known.as_dict(), status, headers)
    page = error_page(request, known, status)
    page.headers.update(headers)
    return page


def _described(error: Exception) -> tuple[RunnerError, int, dict[str, str]]:
    if isinstance(error, Unavailable):
        error = error.naming_run()
    if isinstance(error, RunnerError):
        return error, status_of(error), dict(headers_of(error))
    if isinstance(error, RequestValidationError):
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return UsageError(_plain(faults), hint=f"see {OPENAPI}"), 422, {}
    if isinstance(error, BadBody):
        return UsageError(str(error.detail)), 422, {}
    if isinstance(error, HTTPException):
        message = {404: "there is no such page", 405: "this path does not support the method"}.get(error.status_code)
        return _Problem(message or str(error.detail)), error.status_code, dict(error.headers or {})
    # The traceback goes to the log of the server. The guard adds no headers to this response.
    bug = _Bug("this is a bug in the runner", hint="the log of runner web has the traceback")
    return bug, 500, {**HEADERS, "Cache-Control": "no-store"}


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _methods(request: Request) -> set[str]:
    """Return the methods that the path of a request supports."""
    path = path_of(request)
    if path.startswith("/static/") or path == OPENAPI:
        return {"GET", "HEAD"}
    found = {
        method
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.path_regex.match(path)
        for method in route.methods or ()
    }
    return found | ({"HEAD"} if "GET" in found else set())


def status_of(error: RunnerError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, NotAllowed):
        return error.status
    return http_status(error)
