"""Flows for tests: tasks that report, wait, and fail on request, and a worker that is shared by a test module."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.actions.project import Project as Opened
from runner.api import RunHandle
from runner.ledger.flow_progress import step_run_id
from runner.model.run import Run
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

MODULE = '''
import json, os, signal, time
from pathlib import Path

from runner import current_run


def note(path, **fields):
    """Append a line that a test can read."""
    line = json.dumps({"at": time.time(), "pid": os.getpid(), "id": current_run().id, **fields}) + "\\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


def give(value=None, notes=None, **more):
    if notes:
        note(notes, given=value)
    return value


def double(x):
    return 2 * x


def total(of):
    return sum(of)


def fail(notes=None):
    if notes:
        note(notes, failed=True)
    raise ValueError("no")


def fail_if(x, bad):
    if x == bad:
        raise ValueError(f"{x} is bad")
    return x


def fail_unless(path):
    """Fail until a file is there."""
    if not Path(path).exists():
        raise ValueError("not yet")
    return "at last"


def fail_once():
    if current_run().attempt == 1:
        raise ConnectionError("not yet")
    return current_run().attempt


def where():
    run = current_run()
    flow = run.flow
    return None if flow is None else [flow.id, flow.job, flow.step, flow.item, dict(run.params)]


def nowhere(**kwargs):
    return kwargs


def hold(notes, seconds=300):
    note(notes, begun=True)
    time.sleep(seconds)
    note(notes, ended=True)


def until(path, notes=None):
    """Wait for a file."""
    if notes:
        note(notes, begun=True)
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"


def die(notes):
    note(notes, begun=True)
    os.kill(os.getpid(), signal.SIGKILL)


def tell_secret():
    return f"the key is {os.environ['KEY']}"
'''

FILES = {"tasks.py": MODULE}


class Flows:
    """A project with flows, and short methods for common operations of tests."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.opened = Opened.open(project.path)

    def submit(self, job: str, **params: Any) -> RunHandle:
        from runner.actions.submit import submit

        submitted = submit(self.opened, job, params, trigger="api")
        return RunHandle(self.opened, submitted.id, job)

    def run(self, job: str, **params: Any) -> Run:
        """Submit a flow, and return it once it has ended."""
        return self.submit(job, **params).wait(60.0)

    def steps(self, flow: Run | RunHandle) -> dict[str, tuple[str, str | None]]:
        """Return the state and the reason of each step."""
        return {name: (row["state"], row["reason"]) for name, row in self.rows(flow).items()}

    def rows(self, flow: Run | RunHandle) -> dict[str, dict[str, Any]]:
        """Return the rows of the steps in the run document of a flow, by name."""
        return {row["name"]: row for row in self.opened.ledger.get(flow.id).document()["steps"]}

    def run_of(self, flow: Run | RunHandle, step: str) -> Run:
        """Return the only run of a step; for a step with items, the first one."""
        return self.opened.ledger.get(self.rows(flow)[step]["run"] or step_run_id(flow.id, step, 0))

    def wait_for_step(self, flow: Run | RunHandle, step: str, *states: str) -> dict[str, Any]:
        """Return the row of a step in the run document, once it is in one of ``states``."""

        def arrived() -> dict[str, Any] | None:
            row = self.rows(flow)[step]
            return row if row["state"] in states and row["counts"] else None

        return wait_until(arrived, 30.0, f"step {step} is {' or '.join(states)}")


def told(notes: Path) -> list[dict[str, Any]]:
    """Return the notes that tasks wrote."""
    return [json.loads(line) for line in notes.read_text().splitlines()]


def make_flows(folder: Path, server: Server, jobs: dict[str, Any], settings: dict[str, Any] | None = None) -> Flows:
    """Create a project with flows."""
    namespace = f"t{uuid.uuid4().hex[:10]}"
    return Flows(
        write_project(folder, server.url, jobs, FILES, {"worker": {"lease": "3s"}, **(settings or {})}, namespace)
    )


@pytest.fixture(scope="module")
def flows(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: Server
) -> Iterator[Flows]:
    """Yield the flows of the test module's JOBS, with a worker."""
    made = make_flows(tmp_path_factory.mktemp("flows") / "p", redis_server, request.module.JOBS)
    with made.project.worker(concurrency=4):
        yield made


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return the file into which a task writes lines for its test."""
    path = tmp_path / "notes.jsonl"
    path.touch()
    return path
