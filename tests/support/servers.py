"""The servers of the test suite: the embedded one, and Debian's redis-server in two ways."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.processes import end_session

KINDS = ("embedded", "redis-tcp", "redis-unix")


@dataclass(frozen=True)
class Server:
    """A running server."""

    kind: str
    url: str

    @property
    def client(self) -> redis.Redis:
        """Return a new connection, to inspect the server directly."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def database(self, number: int) -> str:
        """Return the URL of another of its databases, for a test that reads all keys."""
        if self.url.startswith("unix://"):
            return f"{self.url.partition('?')[0]}?db={number}"
        return f"{self.url.rpartition('/')[0]}/{number}"

    @property
    def celery_url(self) -> str:
        """Return the URL in the format of Kombu and Celery."""
        return kombu_url(self.url)


def kombu_url(url: str) -> str:
    """Return ``url`` in the format of Kombu's own transport: ``redis+socket://`` for ``unix://``."""
    if not url.startswith("unix://"):
        return url
    path, mark, query = url.removeprefix("unix://").partition("?")
    options = ["virtual_host=" + part[3:] if part.startswith("db=") else part for part in query.split("&")]
    return f"redis+socket://{path}{mark}{'&'.join(options)}"


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[Server]:
    """Run a server of a type for the duration of the ``with``."""
    make = {"embedded": _embedded, "redis-tcp": _redis_tcp, "redis-unix": _redis_unix}
    with make[kind](folder) as server:
        yield server


@contextmanager
def _embedded(folder: Path) -> Iterator[Server]:
    from runner.embedded import serve, stop
    from runner.settings import load_settings

    project = folder / "server"
    (project / "jobs.d").mkdir(parents=True)
    (project / "runner.yaml").write_text("redis_url: embedded\n")
    settings = load_settings(project, environ={})
    try:
        yield Server("embedded", serve(settings))
    finally:
        stop(settings)


@contextmanager
def _redis_tcp(folder: Path) -> Iterator[Server]:
    password = secrets.token_hex(8)
    port = free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", password]
    with _redis(folder, words, f"redis://:{password}@127.0.0.1:{port}/0", "redis-tcp") as server:
        yield server


@contextmanager
def _redis_unix(folder: Path) -> Iterator[Server]:
    # The path of a socket is limited to 107 bytes, and the folder of a test may be longer.
    socket_folder = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    try:
        path = socket_folder / "redis.sock"
        words = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
        with _redis(folder, words, f"unix://{path}", "redis-unix") as server:
            yield server
    finally:
        shutil.rmtree(socket_folder, ignore_errors=True)


@contextmanager
def _redis(folder: Path, words: list[str], url: str, kind: str) -> Iterator[Server]:
    program = need("redis-server")
    data = folder / "redis"
    data.mkdir(parents=True)
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *words, "--dir", str(data), "--save", "", "--appendonly", "yes"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(kind, url)
    try:
        client = server.client

        def answers() -> bool:
            assert process.poll() is None, (folder / "redis.log").read_text()
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(answers, 30.0, "redis-server answers")
        client.close()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_session(process.pid)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chosen_kind() -> str:
    """Return the server type of the test run: ``RUNNER_TEST_SERVER``."""
    kind = os.environ.get("RUNNER_TEST_SERVER") or "embedded"
    if kind not in KINDS:
        raise ValueError(f"RUNNER_TEST_SERVER={kind}: write one of {', '.join(KINDS)}")
    return kind
