"""Check each request before anything else: its origin, its person, and its size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runner.actions.job_files import MOST_BYTES
from runner.errors import RunnerError
from runner.web.access import SESSION_SECONDS, Access, NotAllowed, Person
from runner.web.state import base_of

SESSION = "runner_session"

MOST_PATH, MOST_QUERY = 1024, 8192
"""The largest path and the largest query of a request, in bytes."""

_HOST = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.IGNORECASE
)
"""A Host header: a name or an address, and a port. Anything else would end up in URLs that are built from it."""

BODY_SECONDS = 30.0
"""How long a request may take to send its body."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC = ("/login", "/healthz")
"""The paths that need no login, besides ``/static/``."""
HOOKS = "/hooks/"
"""The paths of webhooks, whose requests carry a proof of their own."""
HOOK_BYTES = 1024 * 1024
"""The largest body of a webhook."""
EDITED = ("/files/", "/api/v1/files/")
"""The paths on which job files are edited."""
EDIT_BYTES = 3 * MOST_BYTES + 64 * 1024
"""The largest body of a request with a job file. Forms and JSON escape characters."""
LINK = "token"
"""The query parameter of the link that is printed at the start."""

Refuse = Callable[[Request, Exception], Awaitable[Response]]


class Guard:
    """Admits or refuses requests, before the application sees them.

    Args:
        app: the application.
        access: authenticates requests.
        most: the largest body, in bytes.
        refuse: makes the response to a refused request.
    """

    def __init__(self, app: ASGIApp, *, access: Access, most: int, refuse: Refuse) -> None:
        self._app = app
        self._access = access
        self._most = most
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The head of a response to HEAD is that of GET; the sender leaves the body out.
        head = scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}
        request = Request(scope, receive)
        send = _Sender(send, scope["path"], head=head)
        try:
            answer = self._admit(request, opens_links=not head)
        except (RunnerError, HTTPException) as error:
            answer = await self._refuse(request, error)
        if answer is not None:
            await answer(scope, receive, send)
        else:
            await self._app(scope, self._limited(receive, self._most_of(request)), send)

    def _admit(self, request: Request, *, opens_links: bool) -> Response | None:
        request.state.person = None
        self._check_host(request)
        self._check_site(request)
        path = path_of(request)
        if len(path) > MOST_PATH or len(request.scope["query_string"]) > MOST_QUERY:
            raise HTTPException(414, f"a path may have {MOST_PATH} bytes, and a query {MOST_QUERY}")
        most = self._most_of(request)
        if _length(request) > most:
            raise HTTPException(413, f"a body has {most} bytes at most")
        if path.startswith(HOOKS):
            # A webhook checks its own proof; tokens and sessions of people do not count.
            return None
        request.state.person = self._who(request)
        if opens_links and (opened := self._open_link(request)) is not None:
            return opened
        if request.state.person is None and path not in PUBLIC and not path.startswith("/static/"):
            return _log_in_first(request)
        return None

    def _most_of(self, request: Request) -> int:
        path = path_of(request)
        if path.startswith(HOOKS):
            return max(self._most, HOOK_BYTES)
        if self._access.settings.edit and not self._access.open and path.startswith(EDITED):
            return max(self._most, EDIT_BYTES)
        return self._most

    def _who(self, request: Request) -> Person | None:
        access = self._access
        address = request.client.host if request.client is not None else ""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # Without tokens, the header is not meant for us: a proxy may pass on its own credentials.
        if access.takes_tokens and scheme.lower() == "bearer" and token:
            return access.of_token(token.strip(), address_of(request))
        session = request.cookies.get(session_cookie(request))
        found = access.of_session(session) if session else None
        name = access.settings.trusted_header
        given = request.headers.getlist(name) if name else []
        if len(given) > 1:
            raise NotAllowed(
                f"{name} is given twice", hint="let the proxy replace the header, not add to it", status=400
            )
        # Headers are decoded as Latin-1, but proxies write UTF-8.
        who = given[0].encode("latin-1").decode("utf-8", "replace") if given else ""
        return found or access.of_header(who, address) or access.of_nobody()

    def _open_link(self, request: Request) -> Response | None:
        """Answer a request with the token of this start: start a session, and redirect to the URL without the token."""
        if self._access.start_token is None or request.method != "GET" or wants_json(request):
            return None
        given = parse_qsl(query_of(request), keep_blank_values=True)
        token = next((value for name, value in given if name == LINK), None)
        if token is None:
            return None
        rest = urlencode([(name, value) for name, value in given if name != LINK])
        to = base_of(request) + quote("/" + path_of(request).lstrip("/\\")) + (f"?{rest}" if rest else "")
        if request.state.person is not None:
            return RedirectResponse(to, 303)
        session = self._access.open_link(token, address_of(request))
        if session is None:
            return RedirectResponse(f"/login?link=refused&to={quote(to, safe='')}", 303)
        answer = RedirectResponse(to, 303)
        keep_session(request, answer, session)
        return answer

    def _check_host(self, request: Request) -> None:
        given = request.headers.getlist("Host")
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None:
            raise NotAllowed("the request has no valid Host header", hint="send Host: NAME[:PORT]", status=421)
        # Nobody else can point the address that the client connected to at this server.
        own = (request.scope.get("server") or ("", None))[0]
        if not self._access.is_host(found["name"], own):
            raise NotAllowed(
                f"{found['name']} is not a name of this host",
                hint="use http://127.0.0.1, or add the name to web.hosts",
                status=421,
            )

    def _check_site(self, request: Request) -> None:
        """Refuse requests that a page of another site makes in its visitor's browser.

        Browsers mark them with the Fetch Metadata Request Headers of W3C. Older ones send the page's origin with
        requests that change something.
        """
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if request.method in SAFE:
            # A link may lead here.
            foreign = site in ("cross-site", "same-site") and request.headers.get("Sec-Fetch-Mode") != "navigate"
        elif site is not None:
            foreign = site not in ("same-origin", "none")
        else:
            foreign = origin is not None and _split(origin)[1] != request.headers.get("Host")
        if foreign:
            raise NotAllowed("sent from another site")

    def _limited(self, receive: Receive, most: int) -> Receive:
        left, complete, deadline = most, False, asyncio.get_running_loop().time() + BODY_SECONDS

        async def limited() -> Message:
            nonlocal left, complete
            if complete:
                return await receive()  # waits until the client disconnects
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not come within {BODY_SECONDS:g} s") from None
            left -= len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if left < 0:
                raise HTTPException(413, f"a body has {most} bytes at most")
            return message

        return limited


class _Sender:
    """Adds the headers that every response has, and leaves the body out of responses to HEAD."""

    def __init__(self, send: Send, path: str, *, head: bool) -> None:
        self._send = send
        self._static = path.startswith("/static/")
        self._head = head
        self._done = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if not self._static:
                headers.setdefault("Cache-Control", "no-store")
            await self._send(message)
        elif not self._head:
            await self._send(message)
        elif not self._done:
            # Once: a stream keeps sending until it notices that nobody reads it.
            self._done = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def address_of(request: Request) -> str:
    """Return the client's address, which trusted proxies pass on in ``X-Forwarded-For``."""
    access: Access = request.app.state.runner.access
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    return access.origin_of(request.client.host if request.client is not None else "", forwarded)


def path_of(request: Request) -> str:
    """Return the path as the router sees it. ``request.url`` is built from the Host header, too."""
    return str(request.scope["path"])


def query_of(request: Request) -> str:
    """Return the query as it was sent."""
    return bytes(request.scope["query_string"]).decode("latin-1")


def session_cookie(request: Request) -> str:
    """Return the name of the session cookie. It contains the port, since the ports of a host share cookies."""
    server = request.scope.get("server")
    return f"{SESSION}_{server[1]}" if server else SESSION


def keep_session(request: Request, response: Response, session: str) -> None:
    """Set the session cookie."""
    # Not strict, so that a link in a message opens a page without another login. Reading changes nothing, and each form
    # that does has a token.
    response.set_cookie(
        session_cookie(request),
        session,
        httponly=True,
        samesite="lax",
        secure=is_secure(request),
        max_age=round(SESSION_SECONDS),
    )


def is_secure(request: Request) -> bool:
    """Return whether the browser uses TLS, to this server or to a trusted proxy."""
    access: Access = request.app.state.runner.access
    scheme = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower()
    proxied = request.client is not None and access.is_proxy(request.client.host)
    return request.scope.get("scheme") == "https" or (proxied and scheme == "https")


def wants_json(request: Request) -> bool:
    """Return whether the path is one for programs, which get errors as JSON."""
    path = path_of(request)
    return path in ("/healthz", "/metrics", "/api") or path.startswith(("/api/", HOOKS))


def _length(request: Request) -> int:
    text = request.headers.get("Content-Length", "0")
    return int(text) if len(text) <= 19 and text.isascii() and text.isdigit() else 1 << 63


def _log_in_first(request: Request) -> Response:
    if wants_json(request):
        raise NotAllowed("the request has no valid token", hint="send Authorization: Bearer TOKEN", status=401)
    query = f"?{query}" if (query := query_of(request)) else ""
    return RedirectResponse(f"/login?to={quote(base_of(request) + path_of(request) + query, safe='')}", 303)


def _split(url: str) -> tuple[str | None, str | None]:
    """Return the host name of a URL, and the host with its port; both are None if it is not a URL."""
    try:
        found = urlsplit(url)
        return found.hostname, found.netloc
    except ValueError:
        return None, None


def headers_of(error: Exception) -> Mapping[str, str]:
    """Return the additional headers of the response to an error."""
    status = getattr(error, "status", None)
    return {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "60"}}.get(status or 0, {})
