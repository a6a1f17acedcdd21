"""A project whose code listens to Celery's signals, and writes down what each of them tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.work import Work

LISTENING = '''
"""Writes a line for each signal of Celery."""

import json
import os
import traceback
from pathlib import Path
from types import TracebackType

from billiard.einfo import ExceptionInfo
from celery import Task, signals
from celery.exceptions import Retry

HEARD = Path(__file__).with_name("heard.jsonl")
OF_RUNS = ["task_prerun", "task_success", "task_failure", "task_retry", "task_postrun", "task_received"]
OF_WORKERS = [
    "celeryd_init", "worker_init", "after_setup_logger", "after_setup_task_logger", "celeryd_after_setup",
    "worker_before_create_process", "worker_process_init", "worker_process_shutdown", "worker_ready",
    "heartbeat_sent", "worker_shutdown",
]
prepared = 0


def plain(value):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, BaseException):
        told = {"type": type(value).__name__, "text": str(value)}
        return {**told, "exc": plain(value.exc)} if isinstance(value, Retry) else told
    if isinstance(value, ExceptionInfo):
        # Billiard wraps the exception, and tools unwrap it so.
        return {"exception": plain(getattr(value.exception, "exc", value.exception)), "traceback": value.traceback}
    if isinstance(value, TracebackType):
        return [frame.name for frame in traceback.extract_tb(value)]
    if isinstance(value, Task):
        return {"name": value.name, "id": value.request.id, "retries": value.request.retries}
    if hasattr(value, "id"):
        return {"id": value.id, "name": getattr(value, "name", None)}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return getattr(value, "hostname", None) or type(value).__name__


def note(name, sender, told):
    told = {"signal": name, "pid": os.getpid(), "sender": plain(sender), "told": plain(told)}
    if isinstance(sender, Task):
        told |= {"sender": sender.name, "run": sender.request.id}
    line = json.dumps(told)
    file = os.open(HEARD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode() + b"\\n")
    os.close(file)


def connect():
    for name in OF_RUNS:
        getattr(signals, name).connect(spoil, weak=False)
    for name in OF_RUNS + OF_WORKERS:
        listen(name)
    signals.worker_process_init.connect(prepare, weak=False)


def listen(name):
    def hear(sender=None, signal=None, **told):
        note(name, sender, told)

    getattr(signals, name).connect(hear, weak=False)


def spoil(sender=None, **_):
    if getattr(sender, "name", None) == "spoiled":
        raise RuntimeError("a fault of the receiver")


def prepare(**_):
    global prepared
    prepared += 1
'''

Line = dict[str, Any]


def run_of(line: Line) -> str | None:
    """Return the id of the run that a line is about."""
    request = line["told"].get("request")
    return line.get("run") or (request["id"] if isinstance(request, dict) else None)


class Heard(Work):
    """A project with a worker that listens, and what it has heard so far."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self._path = project.path / "heard.jsonl"

    def lines(self, *signals: str) -> list[Line]:
        """Return the signals that were heard, only the named ones if there are any."""
        if not self._path.exists():
            return []
        whole = self._path.read_text().rpartition("\n")[0]
        lines = [json.loads(text) for text in whole.splitlines()]
        return [line for line in lines if not signals or line["signal"] in signals]

    def wait_for(self, enough: Callable[[list[Line]], bool], what: str, *signals: str) -> list[Line]:
        """Return the named signals that were heard, once there are enough."""
        wait_until(lambda: enough(self.lines(*signals)), 30.0, what)
        return self.lines(*signals)

    def of_run(self, run_id: str, attempts: int = 1) -> list[Line]:
        """Return the signals that the process of a run heard, once each of its attempts has ended."""

        def ended(lines: list[Line]) -> bool:
            return [line["signal"] for line in lines if run_of(line) == run_id].count("task_postrun") == attempts

        lines = self.wait_for(ended, f"the signals of {attempts} attempts")
        return [line for line in lines if run_of(line) == run_id and line["signal"] != "task_received"]
