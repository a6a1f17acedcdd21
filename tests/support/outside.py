"""The outside world of the runner: a web site and a mail server, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.support.servers import free_port


class Site:
    """A web site that answers by path, and stores the requests."""

    def __init__(self) -> None:
        site = self
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.seen.append((self.command, self.path, headers, body))
                path = self.path.partition("?")[0]
                if path.startswith("/status/"):
                    status = int(path.rpartition("/")[2])
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(b"that is what I say")
                    return
                if path == "/to":
                    self.send_response(302)
                    self.send_header("Location", self.path.partition("?")[2])
                    self.end_headers()
                    return
                data = b"x" * 100_000 if path == "/large" else json.dumps({"path": self.path}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - their names are the server's

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def serving_site() -> Iterator[Site]:
    """Answer requests for the duration of the ``with``."""
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


class Mailbox:
    """A mailbox that stores its letters. ``busy@`` fails temporarily, ``nobody@`` permanently."""

    def __init__(self) -> None:
        self.letters: list[Any] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith("busy@"):
            return "451 come back later"
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.letters.append(envelope)
        return "250 OK"


def _login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data == LoginPassword(b"me", b"right"), handled=False)


@contextmanager
def serving_mail() -> Iterator[tuple[Mailbox, int]]:
    """Accept mail during the ``with``; yield the mailbox and the port. The user is me, the password right."""
    box, port = Mailbox(), free_port()
    controller = Controller(
        box, hostname="127.0.0.1", port=port, authenticator=_login, auth_require_tls=False, auth_required=False
    )
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()
