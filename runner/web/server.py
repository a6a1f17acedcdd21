"""The web application: what every request passes through, and what becomes of errors."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from runner._version import __version__
from runner.actions.project import Project
from runner.errors import RunnerError, UnknownJob
from runner.web import api, pages
from runner.web.access import Access, NotAllowed, Person, is_loopback
from runner.web.state import State

HERE = Path(__file__).parent

SESSION = "runner_session"

STATUS = {2: 422, 4: 404, 5: 409, 69: 503}
"""HTTP status by exit code: both say the same of an error."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC = ("/login", "/static/", "/healthz")
"""What is shown to anybody."""


def create_web_app(project: Project, *, host: str) -> FastAPI:
    """Return the web application of a project.

    Args:
        project: whose runs.
        host: the address it will listen on.

    Raises:
        InvalidSettings: it would let in anybody.
    """
    app = FastAPI(
        title="runner",
        version=__version__,
        description="Jobs declared in YAML, run on Celery; the documents are those of the command line.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.runner = State(project, Access(project.settings.web, host))
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.include_router(api.router)
    app.include_router(api.health)
    app.include_router(pages.router)
    app.middleware("http")(_guard)
    app.exception_handler(RunnerError)(_refused)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid)
    return app


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        _check_host(request)
        request.state.person = _who(request)
        if request.method not in SAFE:
            _check_origin(request)
        if request.state.person is None and not request.url.path.startswith(PUBLIC):
            response: Response = _log_in_first(request)
        else:
            response = await call_next(request)
    except RunnerError as error:
        response = await _refused(request, error)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _who(request: Request) -> Person | None:
    access: Access = request.app.state.runner.access
    address = request.client.host if request.client is not None else ""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return access.of_token(token.strip(), address)
    session = request.cookies.get(SESSION)
    found = access.of_session(session) if session else None
    header = access.settings.trusted_header
    return found or access.of_header(request.headers.get(header) if header else None, address) or access.of_nobody()


def _check_host(request: Request) -> None:
    """Where no token protects, a name of somebody else's that leads to this host must not."""
    access: Access = request.app.state.runner.access
    name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if access.open and not is_loopback(name) and name != "testserver":
        raise NotAllowed(f"this host is not {name}", hint="use http://127.0.0.1", status=421)


def _check_origin(request: Request) -> None:
    """Refuse what a page of another site sends on behalf of whoever looks at it."""
    origin = request.headers.get("Origin")
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise NotAllowed("sent from another site")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAllowed("sent from another site")


def _log_in_first(request: Request) -> Response:
    if _wants_json(request):
        error = NotAllowed("who are you?", hint="send Authorization: Bearer TOKEN", status=401)
        return _as_json(error, 401, {"WWW-Authenticate": "Bearer"})
    return RedirectResponse(f"/login?to={quote(request.url.path)}", 303)


def _wants_json(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/healthz", "/metrics"))


def status_of(error: RunnerError) -> int:
    """Return the HTTP status that says what the exit code says."""
    if isinstance(error, NotAllowed):
        return error.status
    return 404 if isinstance(error, UnknownJob) else STATUS.get(error.exit_code, 500)


def _as_json(error: RunnerError, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error.as_dict(), status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RunnerError)
    status = status_of(error)
    if _wants_json(request):
        return _as_json(error, status)
    return pages.error_page(request, error.message, error.hint, status)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is no such page", 405: "this cannot be done here"}.get(error.status_code, str(error.detail))
    if _wants_json(request):
        value = {"code": "http", "message": words, "hint": None, "exit_code": 2}
        return JSONResponse({"error": value}, error.status_code, error.headers)
    return pages.error_page(request, words, None, error.status_code)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
    if _wants_json(request):
        value: dict[str, Any] = {"code": "usage", "message": told, "hint": "see /api/v1/openapi.json", "exit_code": 2}
        return JSONResponse(json.loads(json.dumps({"error": value}, default=str)), 422)
    return pages.error_page(request, told, None, 422)
