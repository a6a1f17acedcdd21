"""Sentry's own integration of Celery: one event for a job that fails, and nothing of one run in the next."""

from __future__ import annotations

import gzip
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.support.work import Work

SENTRY = '''
"""Sentry with a transport that writes what it is given to a file."""

import json
import os
from pathlib import Path

import sentry_sdk
from celery import signals
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

SENT = Path(__file__).with_name("sent.jsonl")


class Recording(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            if item.type not in ("event", "transaction"):
                continue
            line = json.dumps({"kind": item.type, **item.payload.json}, default=repr)
            file = os.open(SENT, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(file, line.encode() + b"\\n")
            os.close(file)


def start(**_):
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        transport=Recording,
        integrations=[CeleryIntegration()],
        traces_sample_rate=1.0,
    )


def start_for_real(**_):
    sentry_sdk.init(dsn=os.environ["SHOP_DSN"], integrations=[CeleryIntegration()], shutdown_timeout=30)


def start_in_each_process():
    signals.worker_process_init.connect(start, weak=False)
'''
WORK = """
import logging

import sentry_sdk
from runner import current_run


def fine(word):
    leave(word)

def fail(word):
    leave(word)
    raise ValueError("the invoice is missing")

def flaky(word):
    leave(word)
    if current_run().attempt < 2:
        raise ConnectionError("not yet")

def leave(word):
    sentry_sdk.set_tag(word, "set")
    sentry_sdk.add_breadcrumb(message=f"crumb {word}")
    logging.getLogger("shop").warning("logged %s", word)
"""
PARAMS = {"word": {"type": "string", "required": True}}
JOBS: dict[str, Any] = {
    "fine": {"task": "work:fine", "params": PARAMS},
    "fail": {"task": "work:fail", "params": PARAMS},
    "flaky": {"task": "work:flaky", "params": PARAMS, "retry": {"max_retries": 1, "delay": "50ms", "jitter": False}},
    "fail-twice": {
        "task": "work:fail",
        "params": PARAMS,
        "retry": {"max_retries": 1, "delay": "50ms", "jitter": False},
    },
    "apart": {"task": "work:fail", "params": PARAMS, "isolation": "process"},
}
# Where Sentry is started: before any process is forked, and in each process.
WAYS = ["start", "start_in_each_process"]


class Shop(Work):
    """A project with one process that runs jobs, and what Sentry was sent."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self._path = project.path / "sent.jsonl"

    def sent(self, run_id: str, attempts: int = 1) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the events and the transactions of a run, once each of its attempts has ended."""

        def of_run() -> list[dict[str, Any]]:
            whole = self._path.read_text() if self._path.exists() else ""
            items = [json.loads(line) for line in whole.rpartition("\n")[0].splitlines()]
            return [item for item in items if item.get("tags", {}).get("celery_task_id") == run_id]

        def transactions() -> list[dict[str, Any]]:
            return [item for item in of_run() if item["kind"] == "transaction"]

        wait_until(lambda: len(transactions()) == attempts, 30.0, f"{attempts} transactions of the run")
        return [item for item in of_run() if item["kind"] == "event"], transactions()


Start = Callable[[str], Shop]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Start]:
    with ExitStack() as stack:

        @cache
        def start(way: str) -> Shop:
            files, settings = {"work.py": WORK, "reports.py": SENTRY}, {"setup": f"reports:{way}"}
            project = write_project(tmp_path_factory.mktemp(way) / "p", redis_server.url, JOBS, files, settings)
            stack.enter_context(project.worker(concurrency=1))
            return Shop(project)

        yield start


def crumbs(event: dict[str, Any]) -> list[str]:
    return [str(crumb.get("message")) for crumb in event["breadcrumbs"]["values"]]


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_fails_is_one_event(shop: Start, way: str) -> None:
    run = shop(way).run("fail", word="mine")
    (event,), _ = shop(way).sent(run.id)
    assert (event["level"], event["transaction"]) == ("error", "fail")
    assert event["tags"] == {"celery_task_id": run.id, "mine": "set"}
    assert event["extra"]["celery-job"]["task_name"] == "fail"
    error = event["exception"]["values"][-1]
    assert (error["type"], error["value"]) == ("ValueError", "the invoice is missing")
    assert error["mechanism"] == {"type": "celery", "handled": False}
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert {"crumb mine", "logged mine"} <= set(crumbs(event))


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_succeeds_is_none(shop: Start, way: str) -> None:
    run = shop(way).run("fine", word="fine")
    events, (transaction,) = shop(way).sent(run.id)
    assert events == []
    assert transaction["transaction"] == "fine"
    assert transaction["contexts"]["trace"]["op"] == "queue.task.celery"


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_run_is_in_the_next(shop: Start, way: str) -> None:
    for job in ("fine", "fail", "flaky"):
        shop(way).run(job, word="before")
        run = shop(way).run("fail", word="after")
        (event,), (transaction,) = shop(way).sent(run.id)
        assert "before" not in event["tags"]
        assert "before" not in transaction["tags"]
        assert [crumb for crumb in crumbs(event) if crumb.startswith("crumb")] == ["crumb after"]
        assert [crumb for crumb in crumbs(event) if crumb.startswith("logged")] == ["logged after"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("job", "count"), [("flaky", 0), ("fail-twice", 1)])
def test_an_attempt_that_is_retried_is_no_event(shop: Start, way: str, job: str, count: int) -> None:
    run = shop(way).run(job, word="word")
    assert run.attempts == 2
    events, transactions = shop(way).sent(run.id, attempts=2)
    assert len(events) == count
    assert {transaction["transaction"] for transaction in transactions} == {job}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_in_a_process_of_its_own(shop: Start, way: str) -> None:
    run = shop(way).run("apart", word="word")
    (event,), _ = shop(way).sent(run.id)
    assert (event["transaction"], crumbs(event).count("crumb word")) == ("apart", 1)


@contextmanager
def slow_sentry() -> Iterator[tuple[str, list[str], threading.Event]]:
    """Run a server that answers when it is released; yield its address, the jobs of its events, and the release."""
    jobs: list[str] = []
    answering = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answering.wait(60.0)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            lines = (
                gzip.decompress(body).splitlines() if self.headers["Content-Encoding"] == "gzip" else body.splitlines()
            )
            jobs.extend(item["transaction"] for item in map(json.loads, lines) if "exception" in item)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://key@127.0.0.1:{server.server_port}/1", jobs, answering
        finally:
            answering.set()
            server.shutdown()
            thread.join()


def test_events_are_sent_before_a_process_ends(make_project: Callable[..., Project]) -> None:
    files = {"work.py": WORK, "reports.py": SENTRY}
    project = make_project(JOBS, files, {"setup": "reports:start_for_real"})
    with (
        slow_sentry() as (dsn, jobs, answering),
        project.worker(concurrency=1, env={"SHOP_DSN": dsn}) as worker,
    ):
        for _ in range(3):
            Work(project).run("fail", word="late")
        worker.signal(signal.SIGTERM)
        worker.wait_for("stopping: no new work")
        answering.set()
        assert worker.wait(60.0) == 0
        assert jobs == ["fail"] * 3
