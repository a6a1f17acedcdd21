"""Templates become pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from runner.web.access import Person, Role
from runner.web.guard import path_of
from runner.web.moments import FILTERS
from runner.web.requests import state_of

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
        path=path_of(request),
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
