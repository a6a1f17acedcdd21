"""``runner.tasks.http:request``: an HTTP request as a job.

    jobs:
      ping:
        task: runner.tasks.http:request
        secrets: {TOKEN: "env:SHOP_TOKEN"}
        kwargs:
          url: https://shop.example/health
          headers: {Authorization: "Bearer ${env.TOKEN}"}
        retry: {max_retries: 5, delay: 10s}

The ``retry`` of the job limits the number of retries: after status 5xx, 408, 425, and 429, and without an answer. Any
other unexpected status is not retried, unless ``retry.for`` names :class:`RefusedError`.
"""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from runner._version import __version__
from runner.current import current_run
from runner.model.duration import parse_duration

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REDIRECTS = ("none", "same-host", "all")
BODY_BYTES = 65536
"""The maximum number of bytes of an answer that are read."""
MESSAGE_CHARACTERS = 500
"""The maximum number of characters of an answer in an error message."""
_URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"
_BUSY = frozenset({408, 425, 429})
"""Status codes that ask the client to try later, besides 5xx."""


class HttpJobError(Exception):
    """The request did not end as expected. The subclasses tell whether a retry may help."""


class NoAnswerError(HttpJobError):
    """There was no connection, no answer in time, or an answer that is not HTTP."""


class UnexpectedStatusError(HttpJobError):
    """The status of the answer is unexpected, and a retry may help: 5xx, 408, 425, 429."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


class RefusedError(UnexpectedStatusError):
    """The status of the answer is unexpected, and a retry would not help."""


def request(
    *,
    url: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    body: str | None = None,
    expected_status: int | list[int] | None = None,
    timeout: str = "30s",
    redirects: Literal["none", "same-host", "all"] = "same-host",
) -> dict[str, Any]:
    """Make an HTTP request.

    Follows at most ten redirects, only to http and https, and never with a body; ``headers`` are dropped on a
    redirect to another host, port, or scheme. Proxies are read from the environment (``HTTPS_PROXY``, ``NO_PROXY``).

    Args:
        url: the URL, http or https.
        method: the HTTP method; GET by default.
        headers: the headers of the request; insert a secret with ``${env.NAME}``.
        json: a value to send as JSON.
        body: a text to send unchanged, instead of ``json``.
        expected_status: the status or statuses that mean success; any 2xx by default.
        timeout: the limit for the connection, and for each wait for a part of the answer, such as ``30s``; the
            ``timeout`` of the job limits the whole attempt.
        redirects: the redirects to follow. none; same-host: to the same host and port, and from http to https of that
            host; all. A redirect that is not followed is an answer like any other, so it is unexpected by default.

    Returns:
        ``{"status", "url": the URL of the answer, "content_type", "body": text, "json": the parsed body or None,
        "truncated": whether the body was longer than 64 KiB}``.

    Raises:
        NoAnswerError: no connection, or no answer in time.
        UnexpectedStatusError: an unexpected status that a retry may change.
        RefusedError: any other unexpected status; not retried.
        ValueError: an option is invalid.
    """
    for option, message in _wrong(locals()):
        raise ValueError(f"{option}: {message}" if option else message)
    outgoing = _request(url, method, headers or {}, json, body)
    where = f"{method} {shown(url)}"
    try:
        with _answer(outgoing, parse_duration(timeout), redirects) as answer:
            text, truncated = _read(answer)
            status, kind = int(answer.status), answer.headers.get("Content-Type", "")
            arrived = shown(answer.url or url)
            target = answer.headers.get("Location") if 300 <= status <= 399 else None
    except URLError as error:
        raise NoAnswerError(f"{where}: {_reason(error.reason)}") from None
    except (OSError, HTTPException) as error:
        raise NoAnswerError(f"{where}: {_reason(error)}") from None
    if not _is_expected(status, expected_status):
        if target is not None:
            to = shown(urljoin(arrived, target))
            raise RefusedError(
                f"{where} answered {status}: a redirect to {to}, not followed (redirects: {redirects})", status
            )
        raise _unexpected(where, status, text)
    return {
        "status": status,
        "url": arrived,
        "content_type": kind,
        "body": text,
        "json": _parsed(text, kind) if not truncated else None,
        "truncated": truncated,
    }


RESERVED = frozenset({"url", "method", "headers", "expected_status", "timeout", "redirects"})
request.reserved = RESERVED  # type: ignore[attr-defined]  # names that no param of a job with this task may have
request.example = {"url": "https://example.com/"}  # type: ignore[attr-defined]  # what `runner new` writes
request.not_retried = (RefusedError, ValueError)  # type: ignore[attr-defined]  # unless `retry.for` is given


def check_kwargs(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults in a job's fixed options: the option's name (or an empty text) and a message."""
    yield from _wrong(kwargs)


request.check_kwargs = check_kwargs  # type: ignore[attr-defined]  # what `runner validate` asks


def shown(url: str) -> str:
    """Return a URL without its possibly secret parts: user, password, and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}"


def _wrong(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults in the options; a value with ``${`` is only checked when the job runs."""
    url, method = options.get("url"), options.get("method", "GET")
    if isinstance(url, str) and "${" not in url:
        yield from _wrong_url(url)
    if isinstance(method, str) and "${" not in method and method not in METHODS:
        known = f"write {method.upper()}" if method.upper() in METHODS else f"use one of {', '.join(sorted(METHODS))}"
        yield "method", f"{method} is not a method, {known}"
    if options.get("json") is not None and options.get("body") is not None:
        yield "body", "give either json or body"
    expected = options.get("expected_status")
    for status in expected if isinstance(expected, list) else [expected]:
        if isinstance(status, int) and not 100 <= status <= 599:
            yield "expected_status", f"{status} is not an HTTP status, write 100 to 599"
    redirects = options.get("redirects", "same-host")
    if isinstance(redirects, str) and "${" not in redirects and redirects not in REDIRECTS:
        yield "redirects", f"{redirects!r} is not known, use one of {', '.join(REDIRECTS)}"
    timeout = options.get("timeout", "30s")
    try:
        if isinstance(timeout, str) and "${" not in timeout and parse_duration(timeout) <= 0:
            yield "timeout", "is 0, write a time such as 30s"
    except ValueError as error:
        yield "timeout", str(error)


def _wrong_url(url: str) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if "@" in parts.netloc:
        yield "url", "holds a user or a password, give them in headers, which are never shown"
    elif parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not parts.netloc.isascii():
        yield "url", "is not an http or https URL, write it as https://HOST/PATH"
    elif any(character.isspace() or ord(character) < 32 for character in url):
        yield "url", "holds a space, write it as %20"


def _request(url: str, method: str, headers: Mapping[str, str], json: Any, body: str | None) -> Request:
    data = body.encode() if body is not None else json_format.dumps(json).encode() if json is not None else None
    # Like a browser, escape characters that a URL must not contain; %XX and reserved characters stay unchanged.
    address = quote(url, safe=_URL_CHARACTERS)
    outgoing = Request(address, data=data, method=method)  # noqa: S310 - http and https alone, see _wrong_url
    outgoing.add_header("User-Agent", f"runner/{__version__}")
    if json is not None:
        outgoing.add_header("Content-Type", "application/json")
    elif body is not None:
        outgoing.add_header("Content-Type", "text/plain; charset=utf-8")
    for name, value in headers.items():
        if not isinstance(value, str) or {"\r", "\n", "\0"} & {*name, *value} or not _is_latin(name + value):
            raise ValueError(f"headers.{name}: not a text of one line in Latin letters")
        outgoing.add_header(name, value)
    return outgoing


def _is_latin(text: str) -> bool:
    # RFC 9110: a header value is ASCII, or Latin-1 for historical reasons.
    return all(ord(character) < 256 for character in text)


class _Redirects(HTTPRedirectHandler):
    """Follow the redirects that ``which`` allows, and send data for one host to no other host."""

    def __init__(self, which: str) -> None:
        self._which = which

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not _follows(self._which, req.full_url, newurl):
            return None  # an answer of 3xx, which is not expected
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            following.headers = {"User-agent": f"runner/{__version__}"}
        return following


def _follows(which: str, old: str, new: str) -> bool:
    """Return whether a redirect from ``old`` to ``new`` is followed."""
    try:
        before, after = _origin(old), _origin(new)
    except ValueError:
        return False  # no port
    if which == "none" or after[0] not in _PORTS or "@" in urlsplit(new).netloc:
        return False
    upgrade = ("http", before[1], 80), ("https", before[1], 443)
    return which == "all" or before == after or (before, after) == upgrade


_PORTS = {"http": 80, "https": 443}


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").rstrip("."), port


def _answer(outgoing: Request, seconds: float, redirects: str) -> Any:
    """Return the answer, with any status."""
    try:
        return build_opener(_Redirects(redirects)).open(outgoing, timeout=seconds)
    except HTTPError as error:
        return error


def _read(answer: HTTPResponse) -> tuple[str, bool]:
    """Return the body as text, and whether it was truncated."""
    data = answer.read(BODY_BYTES + 1)
    encoding = answer.headers.get_content_charset() or "utf-8"
    try:
        return data[:BODY_BYTES].decode(encoding, "replace"), len(data) > BODY_BYTES
    except LookupError:
        return data[:BODY_BYTES].decode("utf-8", "replace"), len(data) > BODY_BYTES


def _parsed(text: str, kind: str) -> Any:
    if "json" not in kind:
        return None
    try:
        return json_format.loads(text)
    except ValueError:
        return None


def _is_expected(status: int, expected: int | list[int] | None) -> bool:
    if expected is None:
        return 200 <= status <= 299
    return status in (expected if isinstance(expected, list) else [expected])


def _unexpected(where: str, status: int, text: str) -> UnexpectedStatusError:
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    line = " ".join(text.split())
    excerpt = f": {current_run().mask(line)[:MESSAGE_CHARACTERS]}" if line else ""
    kind = UnexpectedStatusError if status >= 500 or status in _BUSY else RefusedError
    return kind(f"{where} answered {status}{phrase}{excerpt}", status)


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
