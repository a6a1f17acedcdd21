"""Find the project of a request: the outermost layer of the application."""

from __future__ import annotations

from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Receive, Scope, Send

from runner.web.state import CHOSEN, PROJECTS, States

PARAMETER = b"project="


class Switch:
    """Moves the name of the project from the path or the query to the scope, so that routes need not know about it.

    ``/projects/NAME/runs`` and ``/runs?project=NAME`` become ``/runs`` of that project.
    """

    def __init__(self, app: ASGIApp, *, states: States) -> None:
        self._app = app
        self._states = states

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the name of its project in the scope."""
        await self._app(self._routed(scope) if scope["type"] == "http" else scope, receive, send)

    def _routed(self, scope: Scope) -> Scope:
        name, slash, rest = scope["path"].removeprefix(PROJECTS).partition("/")
        if scope["path"].startswith(PROJECTS) and slash and name in self._states.projects.by_name:
            return {**scope, "path": f"/{rest}", CHOSEN: name}
        fields = scope["query_string"].split(b"&")
        mine = [field for field in fields if field.startswith(PARAMETER)]
        if not mine:
            return scope
        # The other fields stay as they were sent, byte by byte.
        left = b"&".join(field for field in fields if not field.startswith(PARAMETER))
        return {**scope, "query_string": left, CHOSEN: unquote_plus(mine[-1][len(PARAMETER) :].decode("latin-1"))}
