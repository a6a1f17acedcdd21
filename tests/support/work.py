"""A project whose jobs do everything a job can do, and a worker that is shared by a test module."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.actions.project import Project as Opened
from runner.api import RunHandle
from runner.model.run import Run
from tests.support.project import Project, write_project
from tests.support.servers import Server

MODULE = '''
import json, os, signal, subprocess, sys, time
from pathlib import Path

from celery import shared_task
from celery.exceptions import Ignore, SoftTimeLimitExceeded

from runner import current_run


def note(path, **fields):
    """Append a line that a test can read."""
    with open(path, "a") as notes:
        notes.write(json.dumps({"at": time.time(), "pid": os.getpid(), **fields}) + "\\n")


def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


def environment():
    return os.environ.get("REPORT_MODE")


def timed_failure(notes):
    note(notes, attempt=current_run().attempt)
    raise ConnectionError("not yet")


def value_error():
    raise ValueError("wrong value")


def leave(code):
    sys.exit(code)


def ignore():
    raise Ignore


def unstorable():
    return object()


def large(size):
    return "x" * size


def plain_values():
    from datetime import date
    from decimal import Decimal
    return {"day": date(2026, 11, 23), "price": Decimal("1.10"), "set": {3, 1, 2}, "path": Path("a/b")}


def sleep(seconds=300, notes=None):
    if notes:
        note(notes, started=True)
    time.sleep(seconds)
    return "slept"


def clean_up(notes):
    try:
        time.sleep(300)
    except SoftTimeLimitExceeded:
        note(notes, cleaned=True)
        raise


def family(notes):
    """Start a child that starts a grandchild, and wait."""
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 300 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    note(notes, child=child.pid, grandchild=int(child.stdout.readline()))
    time.sleep(300)


def stubborn(notes):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(notes, started=True)
    time.sleep(300)


def die(notes):
    note(notes, started=True)
    os.kill(os.getpid(), signal.SIGKILL)


def writes():
    """Write in every way there is."""
    import ctypes, logging
    print("printed")
    logging.getLogger("jobs.own").warning("a warning\\nof two lines")
    os.system("echo from a shell; echo to stderr >&2")
    ctypes.CDLL(None).printf(b"from C\\n")
    print("half a line", end="")


def logs_the_name_of_a_file():
    """Log a name that is not UTF-8, as the system gives it to Python."""
    import logging
    logging.getLogger("jobs.own").warning(os.fsdecode(b"caf\\xe9.txt"))


def cancelled():
    import asyncio
    raise asyncio.CancelledError("by itself")


class OwnError(Exception):
    """Cannot be pickled, as many of them."""
    def __init__(self, what, how):
        super().__init__(f"{what} is {how}")


def own_error():
    raise OwnError("it", "wrong")


class Shy:
    def __repr__(self):
        raise RuntimeError("not to be shown")


def shy_error():
    raise ValueError("with", Shy())


def last_words(notes):
    print("last words")
    die(notes)


def many_lines(count, length=20):
    for number in range(count):
        print(f"{number:>{length}}")


def many_words(character, count):
    """Write much in every way there is."""
    import logging
    for _ in range(count):
        print(character * 100)
    print(character * 10_000)
    logging.getLogger("jobs.own").info(character * 100_000)
    print("the end")


def logs_a_name():
    import logging
    logging.getLogger("jobs.own").info("cannot read %s", os.fsdecode(bytes([98, 228, 114])) + ".csv")


def spoils_its_streams(how):
    """Leave standard output in a state in which nobody wants to find it."""
    import io, logging
    print("before")
    if how == "closed":
        sys.stdout.close()
    elif how == "replaced":
        sys.stdout = io.StringIO()
    elif how == "shut":
        os.close(1)
        try:
            print("after")
        except OSError:
            return
    elif how == "logging":
        logging.basicConfig(force=True, format="mine: %(message)s", level=logging.INFO)
        logging.getLogger("jobs.own").info("after")


def tells_attempt():
    print("attempt", current_run().attempt)
    raise ConnectionError("again")


def forges(run_id):
    """Write what looks like the beginning of another run's attempt."""
    print("\\x1e0011223344556677:B" + json.dumps([run_id, "echo", 1, 1]))
    print("not theirs")


def progress():
    current_run().progress(0.5, "half")
    return current_run().id


class Tools:
    @staticmethod
    def twice(x):
        return 2 * x


@shared_task
def shared(x):
    return x + 1


@shared_task(bind=True, name="somebody.bound")
def bound(self, notes):
    note(notes, id=self.request.id, retries=self.request.retries)
    self.update_state(state="PROGRESS", meta={"current": 1, "total": 4})
    if self.request.retries < 1:
        raise self.retry(exc=ConnectionError("again"), countdown=3600)
    return self.request.retries


not_callable = 7
'''

JOBS: dict[str, Any] = {
    "echo": {
        "task": "work:echo",
        "args": [1, "two"],
        "kwargs": {"fixed": {"a": []}},
        "params": {"x": {"type": "integer"}, "y": {"default": "why"}},
    },
    "environment": {"task": "work:environment", "env": {"REPORT_MODE": "full"}},
    "no-environment": {"task": "work:environment"},
    "value-error": {"task": "work:value_error"},
    "leave": {"task": "work:leave", "params": {"code": {}}},
    "ignore": {"task": "work:ignore"},
    "unstorable": {"task": "work:unstorable"},
    "large": {"task": "work:large", "params": {"size": {"type": "integer"}}},
    "plain-values": {"task": "work:plain_values"},
    "sleep": {"task": "work:sleep", "params": {"seconds": {"type": "number"}, "notes": {"type": "string"}}},
    "timeout": {"task": "work:sleep", "timeout": "500ms"},
    "timeout-retried": {
        "task": "work:sleep",
        "params": {"notes": {"type": "string"}},
        "timeout": "500ms",
        "retry": {"max_retries": 1, "delay": "100ms", "jitter": False, "for": ["TimeLimitExceeded"]},
    },
    "timeout-late": {
        "task": "work:sleep",
        "timeout": "500ms",
        "expires": "5s",
        "retry": {"max_retries": 1, "delay": "60s", "jitter": False, "for": ["TimeLimitExceeded"]},
    },
    "timeout-not-retried": {"task": "work:sleep", "timeout": "500ms", "retry": {"max_retries": 5, "delay": "100ms"}},
    "soft-timeout": {
        "task": "work:clean_up",
        "soft_timeout": "500ms",
        "timeout": "60s",
        "params": {"notes": {"type": "string"}},
    },
    "family": {"task": "work:family", "params": {"notes": {"type": "string"}}},
    "family-timeout": {"task": "work:family", "timeout": "1s", "params": {"notes": {"type": "string"}}},
    "stubborn": {"task": "work:stubborn", "params": {"notes": {"type": "string"}}},
    "die": {"task": "work:die", "params": {"notes": {"type": "string"}}},
    "writes": {"task": "work:writes"},
    "logs-the-name-of-a-file": {"task": "work:logs_the_name_of_a_file"},
    "cancelled": {"task": "work:cancelled"},
    "own-error": {"task": "work:own_error"},
    "shy-error": {"task": "work:shy_error"},
    "last-words": {"task": "work:last_words", "params": {"notes": {"type": "string"}}, "max_deliveries": 1},
    "many-lines": {
        "task": "work:many_lines",
        "params": {"count": {"type": "integer"}, "length": {"type": "integer", "default": 20}},
    },
    "many-words": {
        "task": "work:many_words",
        "params": {"character": {"type": "string"}, "count": {"type": "integer"}},
    },
    "logs-a-name": {"task": "work:logs_a_name"},
    "spoils": {"task": "work:spoils_its_streams", "params": {"how": {"type": "string"}}},
    "tells-attempt": {
        "task": "work:tells_attempt",
        "retry": {"max_retries": 1, "delay": "50ms", "jitter": False},
    },
    "forges": {"task": "work:forges", "params": {"run_id": {"type": "string"}}},
    "late-words": {
        "task": "runner.tasks.shell:run",
        "timeout": "1s",
        "kwargs": {"script": "echo before the timeout; exec sleep 300"},
    },
    "progress": {"task": "work:progress"},
    "attribute": {"task": "work.Tools.twice", "kwargs": {"x": 21}},
    "method": {"task": "work:Tools.twice", "kwargs": {"x": 21}},
    "shared": {"task": "work:shared", "kwargs": {"x": 1}},
    "bound": {
        "task": "work:bound",
        "params": {"notes": {"type": "string"}},
        "retry": {"max_retries": 2, "delay": "100ms", "jitter": False},
    },
    "no-module": {"task": "no.such.module:run"},
    "no-attribute": {"task": "work:missing"},
    "no-callable": {"task": "work:not_callable"},
    "exits-at-import": {"task": "exits:run"},
    "no-exception": {"task": "work:value_error", "retry": {"max_retries": 1, "for": ["work.NoSuchError"]}},
    "retried-for": {
        "task": "work:value_error",
        "retry": {"max_retries": 2, "delay": "50ms", "jitter": False, "for": ["LookupError", "ValueError"]},
    },
    "retried-not-for": {
        "task": "work:value_error",
        "retry": {"max_retries": 2, "delay": "50ms", "jitter": False, "not_for": ["ValueError"]},
    },
}

FILES = {"work.py": MODULE, "exits.py": "import sys\nsys.exit(3)\n"}


class Work:
    """A project with a worker, and short methods for common operations of tests."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.opened = Opened.open(project.path)

    def submit(self, job: str, **params: Any) -> RunHandle:
        from runner.actions.submit import submit

        submitted = submit(self.opened, job, params, trigger="api")
        assert submitted.run is not None
        return RunHandle(self.opened, submitted.id, submitted.run.job, submitted.run)

    def run(self, job: str, **params: Any) -> Run:
        return self.submit(job, **params).wait(120.0)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Work]:
    folder = tmp_path_factory.mktemp("work")
    namespace = f"t{uuid.uuid4().hex[:10]}"
    settings = {"limits": {"result": "4KiB", "log": "64KiB", "log_lines": 1000}, "worker": {"lease": "3s"}}
    project = write_project(folder / "p", redis_server.url, {**JOBS}, FILES, settings, namespace)
    with project.worker(concurrency=6):
        yield Work(project)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return the file into which a job writes lines for its test."""
    path = tmp_path / "notes.jsonl"
    path.touch()
    return path
