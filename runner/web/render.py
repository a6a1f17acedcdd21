"""Rendering of templates to pages."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from jinja2.ext import Extension

from runner.errors import RunnerError
from runner.web.access import Person, Role
from runner.web.edit_access import offers_editing
from runner.web.error_text import error_text
from runner.web.guard import path_of
from runner.web.moments import FILTERS
from runner.web.state import states_of

_OWN_PATH = re.compile(r'((?:href|action|data-live|data-log|data-from)=")/(?!static/|log(?:in|out)"|projects/)')


class WithBase(Extension):
    """Puts the path of the project before each path in a template, if several projects are served."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Return the source of a template with ``{{ base }}`` inserted before each path."""
        return _OWN_PATH.sub(r"\1{{ base }}/", source)


_templates = Environment(
    extensions=[WithBase],
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
    states = states_of(request)
    access, chosen = states.access, states.chosen(request)
    project = states.projects.by_name.get(chosen or "", states.projects.first)
    html = _templates.get_template(f"{name}.html").render(
        person=person,
        may=lambda role: person is not None and person.role >= Role[role.upper()],
        csrf=access.form_token(person) if person is not None else "",
        has_login=not access.open,
        path=path_of(request),
        rendered_at=round(time.time() * 1000),
        zone=ZoneInfo(project.settings.timezone),
        quote=lambda text: quote(str(text), safe=""),
        project=project.settings.project.name if not states.several else chosen or "",
        projects=list(states.projects.by_name) if states.several else [],
        base=states.base(request),
        edits=offers_editing(request, person),
        **values,
    )
    # Output of jobs can contain lone surrogates, for example from file names that are not UTF-8.
    return HTMLResponse(html.encode("utf-8", "backslashreplace"), http_status)


def error_page(request: Request, error: RunnerError, status: int) -> Response:
    """Render the page of an error, with its advice for users of the dashboard."""
    text = error_text(error.code, status)
    return page(
        request, "error", status, text=text, message=error.message, hint=text.advice or error.hint, status=status
    )
