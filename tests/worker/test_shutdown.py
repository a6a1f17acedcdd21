"""How a worker stops, and what systemd hears of it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import wait_until
from tests.support.processes import is_alive
from tests.support.project import Project
from tests.support.work import FILES, JOBS

SLOW = {name: JOBS[name] for name in ("sleep", "stubborn", "shared")}
WEEK = "168h"


def read(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.fixture
def stopping(make_project: Callable[..., Project]) -> Callable[[str], Project]:
    """Make a project whose workers have this much grace, and a lease that no test outlasts."""
    return lambda grace: make_project(SLOW, FILES, {"worker": {"lease": "300s", "shutdown_grace": grace}})


def test_a_worker_ends_as_soon_as_it_is_idle(stopping: Callable[[str], Project], notes: Path) -> None:
    project = stopping(WEEK)
    run_id = project.submit("sleep", "-p", "seconds=2", "-p", f"notes={notes}")
    with project.worker(concurrency=2) as worker:
        wait_until(lambda: notes.read_text(), 30.0, "the run starts")
        worker.signal(signal.SIGTERM)
        worker.wait_for("stopping: no new work; 1 running", 20.0)
        late = project.submit("shared")
        # Far less than its grace.
        assert worker.wait(60.0) == 0
    done = project.document(run_id)
    assert (done["state"], done["attempts"], done["losses"]) == ("SUCCESS", 1, 0)
    assert project.document(late)["state"] == "PENDING", "it took new work"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_an_idle_worker_ends_at_once(stopping: Callable[[str], Project], number: int) -> None:
    with stopping(WEEK).worker(concurrency=1) as worker:
        worker.signal(number)
        assert worker.wait(60.0) == 0


def test_after_the_grace_what_runs_starts_elsewhere_at_once(stopping: Callable[[str], Project], notes: Path) -> None:
    project = stopping("1s")
    # It ignores SIGTERM, and would hold its claim for five minutes: no lease runs out here.
    run_id = project.submit("stubborn", "-p", f"notes={notes}")
    with project.worker(concurrency=1) as first:
        wait_until(lambda: notes.read_text(), 30.0, "the run starts")
        with project.worker(concurrency=1) as second:
            first.signal(signal.SIGTERM)
            assert first.wait(60.0) == 0
            assert "handing back 1 running" in first.stderr
            wait_until(lambda: len(read(notes)) == 2, 60.0, "it starts elsewhere")
            former, later = read(notes)
            assert not is_alive(former["pid"])
            assert is_alive(later["pid"])
            again = project.document(run_id)
            assert f"-{second.pid}-" in again["worker"]
            assert (again["state"], again["attempts"], again["losses"], again["retries"]) == ("STARTED", 2, 0, 0)
            second.signal(signal.SIGQUIT)
            assert second.wait(60.0) == 0
    client = project.redis()
    assert client.hlen(f"{project.namespace}:claims") == 0
    client.close()


def test_systemd_hears_when_it_is_ready_alive_and_stopping(
    stopping: Callable[[str], Project], notes: Path, tmp_path: Path
) -> None:
    project = stopping(WEEK)
    # Short, since the path of a socket has a limit.
    address = f"\0runner-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(60.0)
        environment = {"NOTIFY_SOCKET": "@" + address[1:], "WATCHDOG_USEC": "400000"}
        with project.worker(concurrency=1, env=environment, ready=False) as worker:
            assert _next(listener, besides="WATCHDOG=1") == "READY=1"
            assert "runner worker ready" in worker.wait_for("runner worker ready", 20.0)[0]
            assert [listener.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            project.submit("sleep", "-p", "seconds=1", "-p", f"notes={notes}")
            wait_until(lambda: notes.read_text(), 30.0, "the run starts")
            worker.signal(signal.SIGTERM)
            assert _next(listener, besides="WATCHDOG=1") == "STOPPING=1"
            # While it drains, it is alive.
            assert listener.recv(100) == b"WATCHDOG=1"
            assert worker.wait(60.0) == 0


def _next(listener: socket.socket, *, besides: str) -> str:
    while True:
        message = listener.recv(100).decode()
        if message != besides:
            return message
