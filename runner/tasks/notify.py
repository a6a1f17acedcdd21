"""``runner.tasks.notify``: notify people, chats, and services about a run. Made for ``hooks``.

jobs:
  nightly-report:
    task: reports.nightly:build
    hooks: {failure: [tell-us]}
  tell-us:
    task: runner.tasks.notify:email
    params:
      run: {type: object, required: true}
    kwargs:
      to: [oncall@example.com]
      sender: runner@example.com
      host: mail.example.com
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Iterator, Mapping
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from runner.model.duration import parse_duration
from runner.tasks import http
from runner.tasks.chat_formats import slack_message, teams_message
from runner.tasks.notice import event, message_text, title

SUFFIXES: Mapping[str, str] = {"start": "/start", "success": "", "failure": "/fail", "log": "/log"}
"""The suffixes that :func:`ping` adds to the URL, as healthchecks expects them."""
PORTS = {"none": 25, "starttls": 587, "tls": 465}


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class MailError(Exception):
    """The server did not accept the mail; a retry may help."""


class MailRefusedError(MailError):
    """The server refuses the mail, a recipient, or the password, permanently. Not retried."""


def webhook(
    *,
    url: str,
    run: dict[str, Any],
    body: Literal["run", "text"] = "run",
    headers: Mapping[str, str] | None = None,
    timeout: str = "30s",
    redirects: Literal["none", "same-host", "all"] = "same-host",
) -> dict[str, Any]:
    """Post a run to a URL, as JSON.

    Args:
        url: the URL; its query is never shown. Insert a secret with ``${env.NAME}``.
        run: the run document that the hook passes.
        body: run, to post the document; text, to post ``{"text": TEXT}`` as Slack and Mattermost expect it.
        headers: the headers of the request.
        redirects: the redirects to follow: none, same-host, or all, as for ``runner.tasks.http:request``.
        timeout: the limit for the connection, and for each wait for a part of the answer, such as ``30s``.

    Returns:
        ``{"status": the status of the answer}``.

    Raises:
        NoAnswerError: no connection, or no answer in time.
        UnexpectedStatusError: an unexpected status that a retry may change.
        RefusedError: any other status than 2xx; not retried.
        ValueError: an option is invalid.
    """
    sent = run if body == "run" else {"text": f"{title(run)}\n{message_text(run)}"}
    return _post(url, sent, headers, timeout, redirects)


def email(
    *,
    to: str | list[str],
    sender: str,
    run: dict[str, Any],
    host: str = "localhost",
    port: int | None = None,
    security: Literal["none", "starttls", "tls"] = "none",
    user: str | None = None,
    password: str | None = None,
    subject: str | None = None,
    timeout: str = "30s",
) -> dict[str, Any]:
    """Mail the outcome of a run: the reason, its last lines, and the command to type next.

    Args:
        to: the address or addresses of the recipients.
        sender: the address of the sender.
        run: the run document that the hook passes.
        host: the mail server.
        port: the port; by default 25, with starttls 587, with tls 465.
        security: none, starttls, or tls.
        user: the user to log in as; by default there is no login.
        password: the password of that user; insert it with ``${env.NAME}``. Only with starttls or tls, or to this host.
        subject: the subject of the mail; by default state, job, and reason.
        timeout: the limit for each step with the server, such as ``30s``.

    Returns:
        ``{"to": the addresses, "message_id"}``.

    Raises:
        MailError: the server cannot be reached, or cannot accept the mail now.
        MailRefusedError: it refuses the mail, a recipient, or the password; not retried. Other recipients get the mail.
        ValueError: an option is invalid.
    """
    addresses = [to] if isinstance(to, str) else list(to)
    given = {"to": addresses, "sender": sender, "security": security, "password": password, "host": host, "port": port}
    for option, message in _wrong({**given, "timeout": timeout, "user": user}):
        raise ValueError(f"{option}: {message}")
    letter = _letter(addresses, sender, subject or title(run), message_text(run))
    where = f"{host}:{port or PORTS[security]}"
    try:
        with _connect(host, port or PORTS[security], security, parse_duration(timeout)) as server:
            if user is not None:
                server.login(user, password or "")
            refused = server.send_message(letter)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        raise _mail_error(where, error) from None
    except smtplib.SMTPAuthenticationError as error:
        raise MailRefusedError(f"{where}: user or password is refused ({error.smtp_code})") from None
    except UnicodeError:
        raise MailRefusedError(f"{where}: user and password must be ASCII") from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailRefusedError(f"{where}: {error}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise MailError(f"{where}: {_reason(error)}") from None
    if refused:
        # A retry would send the mail to the other recipients again.
        raise MailRefusedError(
            f"{_mail_error(where, smtplib.SMTPRecipientsRefused(refused))}; all but {', '.join(refused)} have it"
        )
    return {"to": addresses, "message_id": letter["Message-ID"]}


def ping(
    *,
    url: str,
    run: dict[str, Any],
    suffixes: Mapping[str, str] | None = None,
    rid: bool = True,
    headers: Mapping[str, str] | None = None,
    timeout: str = "30s",
    redirects: Literal["none", "same-host", "all"] = "same-host",
) -> dict[str, Any]:
    """Tell a service such as healthchecks that a job has started, succeeded, or failed. The body is the last log lines.

    The hook ``start`` pings ``URL/start``; success and recovered ping ``URL``; failure and silent ping ``URL/fail``;
    any other hook pings ``URL/log``. A start is not sent if the run has ended in the meantime.

    Args:
        url: the URL of the check; insert a secret with ``${env.NAME}``.
        run: the run document that the hook passes.
        suffixes: the suffixes of the URL for start, success, failure, and log: a path, or a query such as
            ``?state=run``.
        rid: adds ``?rid=`` and the run's id, so that the service can distinguish overlapping runs.
        headers: the headers of the request.
        timeout: the limit for the connection, and for each wait for a part of the answer, such as ``30s``.
        redirects: the redirects to follow: none, same-host, or all, as for ``runner.tasks.http:request``.

    Returns:
        ``{"event": start, success, failure, or log, "status": of the answer, or null if nothing was sent}``.

    Raises:
        NoAnswerError: no connection, or no answer in time.
        UnexpectedStatusError: an unexpected status that a retry may change.
        RefusedError: any other status than 2xx; not retried.
        ValueError: an option is invalid.
    """
    for option, message in _wrong_suffixes(suffixes or {}):
        raise ValueError(f"{option}: {message}")
    about = event(run)
    if about == "start" and run.get("finished_at"):
        return {"event": about, "status": None}
    target = _ping_url(url, {**SUFFIXES, **(suffixes or {})}[about], str(run.get("id")) if rid else "")
    sent = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    body = f"{title(run)}\n{message_text(run)}"
    answer = http.request(url=target, method="POST", body=body, headers=sent, timeout=timeout, redirects=redirects)
    return {"event": about, "status": answer["status"]}


def slack(
    *,
    url: str,
    run: dict[str, Any],
    headers: Mapping[str, str] | None = None,
    timeout: str = "30s",
    redirects: Literal["none", "same-host", "all"] = "same-host",
) -> dict[str, Any]:
    """Post a run to an incoming webhook of Slack: title, facts, last lines, and a color.

    Args:
        url: the URL of the webhook; insert a secret with ``${env.NAME}``.
        run: the run document that the hook passes.
        headers: the headers of the request.
        timeout: the limit for the connection, and for each wait for a part of the answer, such as ``30s``.
        redirects: the redirects to follow: none, same-host, or all, as for ``runner.tasks.http:request``.

    Returns:
        ``{"status": the status of the answer}``.

    Raises:
        NoAnswerError: no connection, or no answer in time.
        UnexpectedStatusError: an unexpected status that a retry may change.
        RefusedError: any other status than 2xx; not retried.
        ValueError: an option is invalid.
    """
    return _post(url, slack_message(run), headers, timeout, redirects)


def teams(
    *,
    url: str,
    run: dict[str, Any],
    headers: Mapping[str, str] | None = None,
    timeout: str = "30s",
    redirects: Literal["none", "same-host", "all"] = "same-host",
) -> dict[str, Any]:
    """Post a run to a webhook of a Microsoft Teams workflow, as an Adaptive Card.

    Args:
        url: the URL of the webhook; insert a secret with ``${env.NAME}``.
        run: the run document that the hook passes.
        headers: the headers of the request.
        timeout: the limit for the connection, and for each wait for a part of the answer, such as ``30s``.
        redirects: the redirects to follow: none, same-host, or all, as for ``runner.tasks.http:request``.

    Returns:
        ``{"status": the status of the answer}``.

    Raises:
        NoAnswerError: no connection, or no answer in time.
        UnexpectedStatusError: an unexpected status that a retry may change.
        RefusedError: any other status than 2xx; not retried.
        ValueError: an option is invalid.
    """
    return _post(url, teams_message(run), headers, timeout, redirects)


def _post(
    url: str,
    message: Any,
    headers: Mapping[str, str] | None,
    timeout: str,
    redirects: Literal["none", "same-host", "all"],
) -> dict[str, Any]:
    answer = http.request(url=url, method="POST", json=message, headers=headers, timeout=timeout, redirects=redirects)
    return {"status": answer["status"]}


def _ping_url(url: str, suffix: str, run_id: str) -> str:
    parts = urlsplit(url)
    path, _, query = suffix.partition("?")
    queries = [parts.query, query, f"rid={run_id}" if _UUID.fullmatch(run_id) else ""]
    path = parts.path.rstrip("/") + path if path else parts.path
    return urlunsplit(
        parts._replace(path=path, query="&".join(query_string for query_string in queries if query_string))
    )


def _wrong_suffixes(suffixes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, suffix in suffixes.items():
        if name not in SUFFIXES:
            yield "suffixes", f"{name} is not known, use {', '.join(SUFFIXES)}"
        elif isinstance(suffix, str) and suffix and suffix[0] not in "/?" and "${" not in suffix:
            yield "suffixes", f"{suffix!r} is neither a path nor a query, write /{suffix} or ?state={suffix}"


def _check_ping(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults in a job's fixed options: the option's name and a message."""
    yield from http.check_kwargs({name: value for name, value in kwargs.items() if name not in ("suffixes", "rid")})
    if isinstance(kwargs.get("suffixes"), Mapping):
        yield from _wrong_suffixes(kwargs["suffixes"])


def _check_webhook(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults in a job's fixed options: the option's name and a message."""
    yield from http.check_kwargs({name: value for name, value in kwargs.items() if name != "body"})


_TO_A_HOOK = frozenset({"url", "body", "headers", "timeout", "redirects"})
_BY_MAIL = frozenset({"to", "sender", "host", "port", "security", "user", "password", "subject", "timeout"})
webhook.reserved = _TO_A_HOOK  # type: ignore[attr-defined]  # names that no param of a job with this task may have
email.reserved = _BY_MAIL  # type: ignore[attr-defined]
webhook.example = {"url": "https://chat.example.com/hooks/KEY", "body": "text"}  # type: ignore[attr-defined]  # for `new`
email.example = {"to": ["oncall@example.com"], "sender": "runner@example.com"}  # type: ignore[attr-defined]
_TO_A_CHAT = frozenset({"url", "headers", "timeout", "redirects"})
ping.reserved = _TO_A_CHAT | {"suffixes", "rid"}  # type: ignore[attr-defined]
ping.example = {"url": "https://hc-ping.com/KEY"}  # type: ignore[attr-defined]
ping.check_kwargs = _check_ping  # type: ignore[attr-defined]
ping.not_retried = (http.RefusedError, ValueError)  # type: ignore[attr-defined]
slack.example = {"url": "https://hooks.slack.com/services/KEY"}  # type: ignore[attr-defined]
teams.example = {"url": "https://example.logic.azure.com/workflows/KEY"}  # type: ignore[attr-defined]
for _chat in (slack, teams):
    _chat.reserved = _TO_A_CHAT  # type: ignore[attr-defined]
    _chat.check_kwargs = http.check_kwargs  # type: ignore[attr-defined]
    _chat.not_retried = (http.RefusedError, ValueError)  # type: ignore[attr-defined]
webhook.check_kwargs = _check_webhook  # type: ignore[attr-defined]  # what `runner validate` asks
webhook.not_retried = (http.RefusedError, ValueError)  # type: ignore[attr-defined]  # unless `retry.for` is given
email.check_kwargs = lambda kwargs: _wrong(kwargs)  # type: ignore[attr-defined]
email.not_retried = (MailRefusedError, ValueError)  # type: ignore[attr-defined]


def _wrong(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    to = options.get("to")
    named = [("to", address) for address in (to if isinstance(to, list) else [to])]
    for option, address in [*named, ("sender", options.get("sender"))]:
        if isinstance(address, str) and "${" not in address and not _is_address(address):
            yield option, f"{address} is not an email address, write NAME@HOST"
    if isinstance(to, list) and not to:
        yield "to", "names nobody"
    port = options.get("port")
    if isinstance(port, int) and not 1 <= port <= 65535:
        yield "port", f"{port} is not a port, write 1 to 65535"
    local = options.get("host", "localhost") in ("localhost", "127.0.0.1", "::1")
    if options.get("password") is not None and options.get("security", "none") == "none" and not local:
        yield "password", "would be sent in the clear, add security: starttls, or tls"
    if (options.get("user") is None) != (options.get("password") is None):
        yield ("user" if options.get("user") else "password"), "user and password belong together"
    try:
        if isinstance(options.get("timeout"), str) and "${" not in options["timeout"]:
            parse_duration(options["timeout"])
    except ValueError as error:
        yield "timeout", str(error)


def _is_address(text: str) -> bool:
    _, found = parseaddr(text)
    try:
        Address(addr_spec=found)
    except (MessageError, ValueError, IndexError):
        return False
    return "@" in found and "\n" not in text and "\r" not in text


def _letter(to: list[str], sender: str, subject: str, text: str) -> EmailMessage:
    letter = EmailMessage()
    letter["Subject"] = " ".join(subject.split())
    letter["From"] = sender
    letter["To"] = ", ".join(to)
    letter["Date"] = formatdate()
    letter["Message-ID"] = make_msgid("runner", parseaddr(sender)[1].rpartition("@")[2])
    # Mail filters and out-of-office replies do not answer such mails.
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(text + "\n")
    return letter


def _connect(host: str, port: int, security: str, seconds: float) -> smtplib.SMTP:
    if security == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=seconds, context=ssl.create_default_context())
    server = smtplib.SMTP(host, port, timeout=seconds)
    try:
        if security == "starttls":
            server.starttls(context=ssl.create_default_context())
    except BaseException:
        server.close()
        raise
    return server


def _mail_error(where: str, error: smtplib.SMTPException) -> MailError:
    answers = error.recipients.values() if isinstance(error, smtplib.SMTPRecipientsRefused) else [error.args[:2]]
    code, answer = next(iter(answers))
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    # RFC 5321: 4xx is temporary, 5xx is permanent.
    kind = MailRefusedError if code >= 500 else MailError
    return kind(f"{where}: {code} {text}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
