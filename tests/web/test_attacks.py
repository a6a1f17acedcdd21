"""Whoever holds connections without using them: others are answered all the same, and the log stays short."""

from __future__ import annotations

import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.deadline import wait_until
from tests.support.project import COMMAND, clean_environment, write_project
from tests.support.running import Running
from tests.support.servers import Server
from tests.web.conftest import JOBS, MODULE

FILES = (64, 128)
CONNECTIONS = 200
LONGEST_LOG = 50_000
DEADLINE = 60.0

HEAD = b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
ATTACKS = {
    "pipelined requests, no response taken": (HEAD + b"\r\n") * 400,
    "one request, then half of the next": HEAD + b"\r\n" + HEAD,
    "nothing": b"",
    "half a head": HEAD,
    "half a body": b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\ntoken=",
    "no HTTP": b"\x16\x03\x01" * 100,
    "an upgrade": HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "errors": (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n") * 400,
}


@contextmanager
def limited(folder: Path, server: Server, files: int) -> Iterator[tuple[Running, int]]:
    """Serve a project with few descriptors; yield the server and its port."""
    project = write_project(
        folder / "p", server.url, {**JOBS}, {"web_jobs.py": MODULE}, {}, f"w{uuid.uuid4().hex[:10]}"
    )
    command = [*COMMAND, "web", "--port", "0", "--no-token"]
    with Running(command, cwd=project.path, env=clean_environment(), files=files) as process:
        process.wait_for("runner web ready", 40.0)
        yield process, int(process.stderr.partition("ready: http://127.0.0.1:")[2].partition("/")[0])


def send_all(connection: socket.socket, data: bytes) -> None:
    """Send what the other side takes; no more of it is read."""
    connection.setblocking(False)
    try:
        while data:
            data = data[connection.send(data) :]
    except (BlockingIOError, ConnectionError):
        pass


@pytest.mark.parametrize("attack", ATTACKS)
def test_who_holds_connections_keeps_nobody_out(tmp_path: Path, redis_server: Server, attack: str) -> None:
    sent, files = ATTACKS[attack], FILES[list(ATTACKS).index(attack) % len(FILES)]
    with limited(tmp_path, redis_server, files) as (process, port), ExitStack() as held:

        def is_answered() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=DEADLINE).status_code == 200
            except httpx.TransportError:
                return False

        for _ in range(CONNECTIONS):
            connection = held.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(DEADLINE)
            connection.connect(("127.0.0.1", port))
            send_all(connection, sent)
        for _ in range(10):
            wait_until(is_answered, DEADLINE, "an answer to somebody else")
        assert len(process.stderr) < LONGEST_LOG
        # Nor does it wait for them when it ends.
        process.signal(signal.SIGTERM)
        assert process.wait(DEADLINE) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert "Traceback" not in process.stderr, process.stderr[:2000]
