"""``celery inspect`` and ``celery control``: what they show is true, and what they order is done or refused by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runner.api import RunHandle
from runner.app.factory import create_app
from tests.support.command import CELERY
from tests.support.deadline import wait_until
from tests.support.project import Project, clean_environment, write_project
from tests.support.running import Running
from tests.support.servers import Server
from tests.support.work import Work

NAME = "w@shop"
WORK = """
import os, time
from pathlib import Path


def where():
    return os.getpid()

def hold(name):
    Path(f"{name}.pid").write_text(str(os.getpid()))
    end = time.monotonic() + 60
    while not Path(f"{name}.release").exists() and time.monotonic() < end:
        time.sleep(0.02)
"""
JOBS: dict[str, Any] = {
    "where": {"task": "work:where"},
    "hold": {"task": "work:hold", "params": {"name": {"type": "string", "required": True}}},
}


class Asked(Work):
    """A project, and its worker, asked by remote control."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self.app = create_app(project.settings, project.catalog)
        # A worker is ready for runs a moment before it hears what is broadcast.
        first = self.app.control.inspect([NAME], timeout=1.0, limit=1)
        wait_until(first.ping, 30.0, "the worker answers")

    def inspect(self, command: str, *args: Any) -> Any:
        """Return the answer of the worker to a command of ``inspect``."""
        answers = getattr(self.app.control.inspect([NAME], timeout=30.0, limit=1), command)(*args)
        return answers[NAME]

    def control(self, command: str, **arguments: Any) -> Any:
        """Return the answer of the worker to a command of ``control``."""
        options = {"arguments": arguments, "destination": [NAME], "reply": True, "timeout": 30.0, "limit": 1}
        (answer,) = self.app.control.broadcast(command, **options)
        return answer[NAME]

    def hold(self, name: str) -> RunHandle:
        """Start a run that lasts until :meth:`release`."""
        run = self.submit("hold", name=name)
        wait_until(self._pid_of(name).exists, 30.0, "the run has begun")
        return run

    def release(self, name: str) -> None:
        """Have a run that :meth:`hold` has started end."""
        self.project.write({f"{name}.release": ""})

    def _pid_of(self, name: str) -> Path:
        return self.project.path / f"{name}.pid"

    def pid_of(self, name: str) -> int:
        """Return the process that performs such a run."""
        wait_until(lambda: self._pid_of(name).read_text(), 30.0, "the process has a number")
        return int(self._pid_of(name).read_text())


Start = Callable[[str], Asked]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Start]:
    """Start a worker of a pool, when a test first asks for it."""
    with ExitStack() as stack:

        @cache
        def start(pool: str) -> Asked:
            project = write_project(tmp_path_factory.mktemp(pool) / "p", redis_server.url, JOBS, {"work.py": WORK})
            stack.enter_context(project.worker("-P", pool, "-n", NAME, concurrency=2))
            return Asked(project)

        yield start


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_runs_is_active_while_it_runs(shop: Start, pool: str) -> None:
    asked = shop(pool)
    before = time.time()
    run = asked.hold("active")

    def active() -> dict[str, Any]:
        return {task["id"]: task for task in asked.inspect("active")}

    facts: dict[str, Any] = wait_until(lambda: active().get(run.id), 30.0, "it is active")
    assert (facts["name"], facts["hostname"]) == ("hold", NAME)
    assert facts["worker_pid"] == asked.pid_of("active")
    assert before - 60.0 < facts["time_start"] < time.time() + 60.0
    assert {"args", "kwargs", "type", "acknowledged", "delivery_info"} <= set(facts)
    assert run.id not in [task["id"] for task in asked.inspect("reserved")]
    ((where, found),) = (asked.inspect("query_task", run.id)[run.id],)
    assert (where, found["name"], found["worker_pid"]) == ("active", "hold", facts["worker_pid"])
    asked.release("active")
    assert run.wait(30.0).state == "SUCCESS"
    wait_until(lambda: run.id not in active(), 30.0, "it is active no more")
    assert asked.inspect("query_task", run.id) == {}


def test_stats_tell_the_processes_and_count_the_runs(shop: Start) -> None:
    asked = shop("prefork")
    pid = asked.run("where").result
    assert asked.run("where").state == "SUCCESS"
    # A taker tells how many it has performed when it is idle, a moment after the run.
    wait_until(lambda: asked.inspect("stats")["total"].get("where", 0) >= 2, 30.0, "both are counted")
    stats = asked.inspect("stats")
    assert stats["pool"]["max-concurrency"] == 2
    assert len(stats["pool"]["processes"]) == 2
    assert pid in stats["pool"]["processes"]
    assert stats["pid"] not in stats["pool"]["processes"]
    assert {"uptime", "clock", "broker", "rusage"} <= set(stats)


def test_the_other_commands_that_look(shop: Start) -> None:
    asked = shop("prefork")
    assert asked.inspect("ping") == {"ok": "pong"}
    assert {"where", "hold"} <= set(asked.inspect("registered"))
    queues = {queue["name"]: queue for queue in asked.inspect("active_queues")}
    assert queues["default"]["routing_key"] == "default"
    assert (asked.inspect("scheduled"), asked.inspect("revoked")) == ([], [])
    assert asked.inspect("query_task", "nothing") == {}
    conf = asked.inspect("conf")
    assert (conf["timezone"], conf["control_exchange"]) == ("UTC", asked.project.namespace)


@pytest.mark.parametrize("command", ["pool_grow", "pool_shrink", "shutdown", "rate_limit", "enable_events"])
def test_what_changes_a_worker_is_refused_by_name(shop: Start, command: str) -> None:
    asked = shop("prefork")
    assert asked.control(command)["error"].startswith(f"{command} is refused: worker.remote_control is safe")
    assert asked.run("where").state == "SUCCESS"


def test_a_pool_grows_and_shrinks_and_a_worker_is_shut_down(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, {"work.py": WORK}, {"worker": {"remote_control": "full"}})
    with project.worker("-n", NAME, concurrency=1) as worker:
        asked = Asked(project)

        def processes() -> set[int]:
            return set(asked.inspect("stats")["pool"]["processes"])

        assert len(processes()) == 1
        assert "ok" in asked.control("pool_grow", n=1)
        wait_until(lambda: len(processes()) == 2, 30.0, "the pool has grown")
        runs = [asked.hold(name) for name in ("one", "two")]
        assert {asked.pid_of("one"), asked.pid_of("two")} == processes()
        for name, run in zip(("one", "two"), runs, strict=True):
            asked.release(name)
            assert run.wait(30.0).state == "SUCCESS"
        wait_until(lambda: asked.inspect("active") == [], 30.0, "the pool is idle")
        assert "ok" in asked.control("pool_shrink", n=1)
        wait_until(lambda: len(processes()) == 1, 30.0, "the pool has shrunk")
        assert asked.run("where").result in processes()
        # What this worker was not started for.
        assert "utoscale" in asked.control("autoscale", max=3, min=1)["error"]
        assert "restart" in asked.control("pool_restart")["error"]
        assert "ok" in asked.control("shutdown")
        assert worker.wait(30.0) == 0


def test_celery_inspect_prints_what_runs(shop: Start) -> None:
    asked = shop("prefork")
    run = asked.hold("printed")
    command = [*CELERY, "inspect", "-d", NAME, "-t", "30", "active"]
    with Running(command, cwd=asked.project.path, env=clean_environment()) as printing:
        assert printing.wait(30.0) == 0
        assert f"{NAME}: OK" in printing.stdout
        assert run.id in printing.stdout
    asked.release("printed")
    assert run.wait(30.0).state == "SUCCESS"
