"""A worker that starts while Redis cannot serve it waits, unless that would not help or is not wanted."""

from __future__ import annotations

import signal
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.fault.server import RedisServer
from tests.support.project import Project, write_project
from tests.support.proxy import Proxy
from tests.support.servers import free_port

JOBS = {"add": {"task": "work:add"}}
FILES = {"work.py": "def add():\n    return 2\n"}

Absent = Callable[[], AbstractContextManager[tuple[str, int]]]
"""Makes an address at which no Redis serves anybody."""


class Loading(socketserver.BaseRequestHandler):
    """Answers each command as a Redis that still loads its data."""

    def handle(self) -> None:
        while self.request.recv(65536):
            self.request.sendall(b"-LOADING Redis is loading the dataset in memory\r\n")


class Resetting(socketserver.BaseRequestHandler):
    """Accepts, and hangs up when something is asked."""

    def handle(self) -> None:
        self.request.recv(1)


def answering(error: str) -> type[socketserver.BaseRequestHandler]:
    """Return a server that answers each command with an error."""

    class Answering(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536):
                self.request.sendall(f"-{error}\r\n".encode())

    return Answering


EMERGENCIES = {
    "busy": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "replica": "READONLY You can't write against a read only replica.",
    "replica alone": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "no replicas": "NOREPLICAS Not enough good replicas to write.",
    "no memory": "OOM command not allowed when used memory > 'maxmemory'.",
    "no disk": "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "full": "ERR max number of clients reached",
}
"""What a running worker waits out as well."""


class Threaded(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def stub(handler: type[socketserver.BaseRequestHandler]) -> Iterator[tuple[str, int]]:
    with Threaded(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ("127.0.0.1", server.server_address[1])
        server.shutdown()


def at_port(folder: Path, port: int, password: str = "") -> Project:
    return write_project(folder / "p", f"redis://{password}127.0.0.1:{port}/0", JOBS, FILES)


@contextmanager
def nobody() -> Iterator[tuple[str, int]]:
    yield ("127.0.0.1", free_port())


@pytest.mark.parametrize("verb", ["worker", "up"])
@pytest.mark.parametrize(
    "absent",
    [nobody, lambda: stub(Resetting), lambda: stub(Loading)],
    ids=["refused", "reset", "loading"],
)
def test_a_starting_worker_waits_for_redis(absent: Absent, verb: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, absent() as upstream, Proxy(upstream) as proxy:
        project = at_port(tmp_path, proxy.port)
        with project.start(verb, "-c", "1") as worker:
            worker.wait_for("waiting for it", 40.0)
            assert worker.process.poll() is None
            proxy.upstream = ("127.0.0.1", server.port)
            proxy.cut()
            worker.wait_for("Redis is back", 40.0)
            worker.wait_for("runner worker ready", 60.0)
            project.cli("submit", "add", "--wait").check()
            assert worker.terminate() == 0


@pytest.mark.parametrize("kind", EMERGENCIES)
def test_a_starting_worker_waits_as_a_running_one(kind: str, tmp_path: Path) -> None:
    refusing = stub(answering(EMERGENCIES[kind]))
    with RedisServer(tmp_path, fsync="no") as server, refusing as upstream, Proxy(upstream) as proxy:
        project = at_port(tmp_path, proxy.port)
        with project.start("worker", "-c", "1") as worker:
            worker.wait_for("waiting for it", 40.0)
            proxy.upstream = ("127.0.0.1", server.port)
            proxy.cut()
            worker.wait_for("runner worker ready", 60.0)
            assert worker.terminate() == 0


@pytest.mark.parametrize("answer", ["CLUSTERDOWN The cluster is down", "DENIED Redis is running in protected mode"])
def test_a_worker_does_not_wait_for_other_settings(answer: str, tmp_path: Path) -> None:
    with stub(answering(answer)) as (_, port):
        at_port(tmp_path, port).cli("worker").check(69)


def test_a_waiting_worker_obeys_signals(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with at_port(tmp_path, free_port()).start("worker") as worker:
            worker.wait_for("waiting for it", 40.0)
            worker.signal(number)
            assert worker.wait(30.0) == 0


@pytest.mark.parametrize("verb", [["worker"], ["up"]], ids=" ".join)
def test_no_wait_exits_with_69(verb: list[str], tmp_path: Path) -> None:
    done = at_port(tmp_path, free_port()).cli(*verb, "--no-wait").check(69)
    assert "is Redis running there" in done.stderr


def test_detached_it_says_at_once_that_redis_is_down(tmp_path: Path) -> None:
    at_port(tmp_path, free_port()).cli("up", "-d").check(69)


def test_a_worker_does_not_wait_for_another_password(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server:
        with server.client() as client:
            client.config_set("requirepass", "right")
        for password in ("", ":wrong@"):
            at_port(tmp_path, server.port, password).cli("worker").check(69)
