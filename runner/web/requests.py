"""The common parts of API requests: the person, the body, and the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from runner.errors import UsageError
from runner.model.duration import parse_duration
from runner.model.option import options_of
from runner.model.run_query import Reading
from runner.model.strict_json import read_json
from runner.web.access import NotAllowed, Person, Role
from runner.web.guard import address_of
from runner.web.state import State, states_of

Reference = Annotated[
    str,
    Path(description="A full id, or a unique prefix of 8 or more characters.", max_length=128),
]
ReadReference = Annotated[
    str,
    Path(description="A full id, a unique prefix of 8 or more characters, or `@JOB`: its latest run.", max_length=128),
]
Archived = Annotated[bool, Query(description=options_of(Reading)[0].help)]
JobName = Annotated[str, Path(description="The name of a job.", max_length=64)]


class BadBody(HTTPException):
    """The body is not JSON."""


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return read_json(await self.body())
        except ValueError as error:
            raise BadBody(422, f"the body is not JSON: {error}") from None


class StrictRoute(APIRoute):
    """Accepts only bodies with the content type JSON, and only JSON that every parser reads in the same way.

    Pages of other sites can send forms and plain text without a preflight request, but not JSON.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of a request."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def strictly(request: Request) -> Response:
            if takes_body and not is_json(request.headers.get("Content-Type")) and await request.body():
                raise HTTPException(415, "the content type is not JSON: send Content-Type: application/json")
            # The body was consumed, and is only in the request now.
            strict = _StrictRequest(request.scope, request.receive)
            if hasattr(request, "_body"):
                strict._body = request._body
            return await handle(strict)

        return strictly


def is_json(content_type: str | None) -> bool:
    """Return whether a content type is JSON."""
    header = Message()
    header["Content-Type"] = content_type or ""
    subtype = header.get_content_subtype()
    return header.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def state_of(request: Request) -> State:
    """Return the state of the project that a request is about. Raises as :meth:`runner.web.state.States.of` does."""
    return states_of(request).of(request)


def counted_address(request: Request) -> str | None:
    """Return the address that a request counts for; None for a proxy that does not pass on the client's address."""
    address = address_of(request)
    return None if states_of(request).access.is_proxy(address) else address


class AtLeast:
    """The dependency that refuses people whose role is below the given one."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __call__(self, request: Request) -> Person:
        """Return the person who makes the request.

        Raises:
            NotAllowed: the request is not authenticated, or the role is not sufficient.
        """
        person: Person | None = getattr(request.state, "person", None)
        if person is None:
            raise NotAllowed("the request has no valid token", hint="send Authorization: Bearer TOKEN", status=401)
        if person.role < self.role:
            raise NotAllowed(
                f"{person.name} has the role {person.role.name.lower()}, this needs {self.role.name.lower()}"
            )
        return person


def check_form(request: Request, role: Role, token: str) -> Person:
    """Return the person who sends a form, whose ``token`` no page of another site can know.

    Raises:
        NotAllowed: their role is below ``role``, or the form is not one of their session.
    """
    person: Person | None = request.state.person
    if person is None or person.role < role:
        raise NotAllowed(f"this needs the role {role.name.lower()}")
    if not states_of(request).access.is_form_token(person, token):
        raise NotAllowed("the form is too old", hint="load the page again")
    return person


Reader = Depends(AtLeast(Role.READ))
"""On every route that needs a login. The guard checks the same, with other code, so that one bug does not suffice."""
BEARER = Security(HTTPBearer(auto_error=False, description="A token of runner web --new-token."))
"""Describes the bearer token in the OpenAPI document. The guard has authenticated the request already."""
Operator = Annotated[Person, Depends(AtLeast(Role.OPERATE))]
Admin = Annotated[Person, Depends(AtLeast(Role.ADMIN))]


def answer(content: Any, status: int = 200, **headers: str) -> JSONResponse:
    """Return a JSON response. Text with lone surrogates, which UTF-8 cannot encode, is escaped."""
    return _Answer(content, status, headers)


class _Answer(JSONResponse):
    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def seconds(text: str | None, name: str) -> float | None:
    """Return a duration in seconds.

    Raises:
        UsageError: it is not a duration; ``name`` is in the message.
    """
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
