"""Celery's events, as Flower and other monitors see them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runner.app.factory import create_app
from runner.model.run import Run
from tests.support.command import CELERY
from tests.support.deadline import wait_until
from tests.support.project import Project, clean_environment, write_project
from tests.support.running import Running
from tests.support.servers import Server
from tests.support.work import Work

NAME = "w@shop"
WORK = """
import os, time
from runner import current_run


def where(day=None):
    return {"pid": os.getpid()}

def fail():
    raise ValueError("the invoice is missing")

def flaky():
    if current_run().attempt < 2:
        raise ConnectionError("not yet")

def sleep():
    time.sleep(60)
"""
RETRY = {"max_retries": 1, "delay": "50ms", "jitter": False}
JOBS: dict[str, Any] = {
    "where": {"task": "work:where", "params": {"day": {"type": "string"}}},
    "fail": {"task": "work:fail"},
    "flaky": {"task": "work:flaky", "retry": RETRY},
    "sleep": {"task": "work:sleep"},
    "slow": {"task": "work:sleep", "timeout": "300ms"},
}

Event = dict[str, Any]


class Monitor:
    """Receives events beside a test, as Flower does."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.state = app.events.State()
        self._events: list[Event] = []
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._receive)

    def _receive(self) -> None:
        with self.app.connection_for_read() as connection:
            self._receiver = self.app.events.Receiver(connection, handlers={"*": self._note})
            self._receiver.capture(limit=None, timeout=None, wakeup=False)

    def _note(self, event: Event) -> None:
        self.state.event(event)
        self._events.append(event)

    @contextmanager
    def watching(self) -> Iterator[Monitor]:
        """Receive for the time of the ``with``."""
        self._thread.start()
        try:
            # What is published before its queue is bound goes nowhere.
            dispatcher = self.app.events.default_dispatcher

            def hears() -> list[Event]:
                with dispatcher() as sends:
                    sends.send("monitor-asks")
                return self.of_kind("monitor-asks")

            wait_until(hears, 30.0, "the monitor hears")
            yield self
        finally:
            self._receiver.should_stop = True
            self._thread.join(10.0)

    def of_kind(self, kind: str) -> list[Event]:
        """Return the events of a type so far."""
        return [event for event in tuple(self._events) if event["type"] == kind]

    def of_run(self, run_id: str) -> list[Event]:
        """Return the events of a run so far."""
        return [event for event in tuple(self._events) if event.get("uuid") == run_id]

    def wait_for(self, run_id: str, kind: str) -> Event:
        """Return the event of a type of a run."""

        def found() -> list[Event]:
            return [event for event in self.of_run(run_id) if event["type"] == kind]

        return wait_until(found, 30.0, f"{kind} of {run_id}, of {self.of_run(run_id)}")[0]


class Shop(Work):
    """A project, and what its worker tells."""

    def __init__(self, project: Project, monitor: Monitor) -> None:
        super().__init__(project)
        self.monitor = monitor


@contextmanager
def watched(project: Project, *options: str) -> Iterator[tuple[Shop, Running]]:
    app = create_app(project.settings, project.catalog)
    command = [*CELERY, "worker", "-c", "1", "-n", NAME, "-l", "INFO", *options]
    with Monitor(app).watching() as monitor, Running(command, cwd=project.path, env=clean_environment()) as worker:
        worker.wait_for("runner worker ready", 40.0)
        yield Shop(project, monitor), worker


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Shop]:
    project = write_project(tmp_path_factory.mktemp("events") / "p", redis_server.url, JOBS, {"work.py": WORK})
    with watched(project, "-E") as (shop, _):
        yield shop


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def test_a_run_that_succeeds(shop: Shop) -> None:
    run = shop.run("where", day="monday")
    succeeded = shop.monitor.wait_for(run.id, "task-succeeded")
    events = received, started, _ = shop.monitor.of_run(run.id)
    assert kinds(events) == ["task-received", "task-started", "task-succeeded"]
    assert {event["hostname"] for event in events} == {NAME}
    for event in events:
        assert {"timestamp", "clock", "pid", "utcoffset"} <= set(event)
    assert received["name"] == "where"
    assert {"args", "kwargs", "retries", "eta", "expires", "root_id", "parent_id"} <= set(received)
    assert started["timestamp"] >= received["timestamp"]
    assert str(run.result["pid"]) in succeeded["result"]
    assert 0.0 <= succeeded["runtime"] < 60.0
    task = shop.monitor.state.tasks[run.id]
    assert (task.name, task.state, task.worker.hostname) == ("where", "SUCCESS", NAME)
    assert (task.result, task.runtime) == (succeeded["result"], succeeded["runtime"])


def test_a_run_that_fails(shop: Shop) -> None:
    run = shop.run("fail")
    failed = shop.monitor.wait_for(run.id, "task-failed")
    assert kinds(shop.monitor.of_run(run.id)) == ["task-received", "task-started", "task-failed"]
    assert failed["exception"] == "ValueError('the invoice is missing')"
    assert "in fail" in failed["traceback"]
    assert shop.monitor.state.tasks[run.id].state == "FAILURE"


def test_a_run_that_is_retried(shop: Shop) -> None:
    run = shop.run("flaky")
    shop.monitor.wait_for(run.id, "task-succeeded")
    events = shop.monitor.of_run(run.id)
    assert kinds(events) == [
        *("task-received", "task-started", "task-retried"),
        *("task-received", "task-started", "task-succeeded"),
    ]
    assert "not yet" in events[2]["exception"]
    assert "in flaky" in events[2]["traceback"]
    assert shop.monitor.state.tasks[run.id].state == "SUCCESS"


def test_a_run_that_is_terminated(shop: Shop) -> None:
    handle = shop.submit("sleep")
    shop.monitor.wait_for(handle.id, "task-started")
    assert shop.monitor.state.tasks[handle.id].state == "STARTED"
    handle.revoke(terminate=True)
    revoked = shop.monitor.wait_for(handle.id, "task-revoked")
    assert (revoked["terminated"], revoked["expired"]) == (True, False)
    assert isinstance(revoked["signum"], int)
    assert shop.monitor.state.tasks[handle.id].state == "REVOKED"


def test_a_run_that_takes_too_long(shop: Shop) -> None:
    run = shop.run("slow")
    failed = shop.monitor.wait_for(run.id, "task-failed")
    assert "TimeLimitExceeded" in failed["exception"]
    assert kinds(shop.monitor.of_run(run.id)) == ["task-received", "task-started", "task-failed"]


def test_a_worker_beats(shop: Shop) -> None:
    run = shop.run("where")
    (online,) = shop.monitor.of_kind("worker-online")
    assert online["hostname"] == NAME
    assert {"freq", "sw_ident", "sw_ver", "sw_sys"} <= set(online)

    def counted() -> list[Event]:
        return [event for event in shop.monitor.of_kind("worker-heartbeat") if event["processed"] >= 1]

    beat = wait_until(counted, 30.0, "a heartbeat that counts a run")[0]
    assert beat["hostname"] == NAME
    assert {"freq", "active", "processed", "loadavg"} <= set(beat)
    worker = shop.monitor.state.workers[NAME]
    assert worker.alive
    assert shop.monitor.state.tasks[run.id].worker is worker


def test_events_are_switched_while_a_worker_runs(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, {"work.py": WORK}, {"worker": {"remote_control": "full"}})
    with watched(project) as (shop, worker):
        control = shop.monitor.app.control

        def ask(command: str) -> Any:
            ((answer,),) = (reply.values() for reply in control.broadcast(command, reply=True, limit=1, timeout=30.0))
            return answer

        # A worker is ready a moment before its main loop listens, as Celery's own is.
        wait_until(lambda: control.ping(timeout=0.5), 30.0, "the worker listens")

        def run_silently() -> Run:
            run = shop.run("where")
            # The run is settled before the worker would tell of it.
            wait_until(lambda: ask("active") == [], 30.0, "the worker has done with the run")
            return run

        silent = [run_silently()]
        assert ask("enable_events") == {"ok": "task events enabled"}
        reported = [shop.run("where")]
        assert ask("enable_events") == {"ok": "task events already enabled"}
        shop.monitor.wait_for(reported[0].id, "task-succeeded")
        assert ask("disable_events") == {"ok": "task events disabled"}
        silent.append(run_silently())
        assert ask("enable_events") == {"ok": "task events enabled"}
        reported.append(shop.run("where"))
        for run in reported:
            shop.monitor.wait_for(run.id, "task-succeeded")
            assert kinds(shop.monitor.of_run(run.id)) == ["task-received", "task-started", "task-succeeded"]
        assert [shop.monitor.of_run(run.id) for run in silent] == [[], []]
        assert worker.terminate() == 0
        (offline,) = wait_until(lambda: shop.monitor.of_kind("worker-offline"), 30.0, "worker-offline")
        assert offline["hostname"] == NAME
        assert not shop.monitor.state.workers[NAME].alive
