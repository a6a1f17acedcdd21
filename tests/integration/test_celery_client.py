"""A Celery client that knows a Redis URL and the name of a job, and nothing of the runner."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.servers import Server

JOBS = {
    "add": {
        "task": "work:add",
        "params": {"a": {"type": "integer", "required": True}, "b": {"type": "integer", "default": 10}},
    },
    "fail": {"task": "work:fail"},
    "flaky": {"task": "work:flaky", "retry": {"max_retries": 2, "delay": "300ms", "jitter": False}},
    "hold": {"task": "work:hold"},
    "broken": {"task": "no_such_module:f"},
    "off": {"task": "work:add", "enabled": False},
    "beside": {"task": "work:flaky", "queue": "celery", "retry": {"max_retries": 2, "delay": "1ms"}},
}

WORK = """
import time
from pathlib import Path
from runner import current_run

def add(a, b):
    return a + b

def fail():
    raise ValueError("the invoice is missing")

def flaky():
    if current_run().attempt < 3:
        raise ConnectionError("not yet")
    return "at last"

def hold():
    end = time.monotonic() + 60
    while not Path("release").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return "held"
"""

PATIENCE = 30.0


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(JOBS, {"work.py": WORK})


@pytest.fixture
def client(redis_server: Server, broker_settings: dict[str, Any]) -> Iterator[Celery]:
    broker = broker_settings.get("broker_url", redis_server.celery_url)
    app = Celery("stranger", broker=broker, backend=redis_server.celery_url, set_as_current=False)
    app.conf.broker_connection_retry_on_startup = False
    yield app
    app.close()


def test_gets_the_result_of_a_job(project: Project, client: Celery) -> None:
    with project.worker():
        sent = client.send_task("add", kwargs={"a": 5})
        assert sent.get(timeout=PATIENCE) == 15
        assert sent.state == "SUCCESS"
        document = project.document(sent.id)
        assert (document["state"], document["result"], document["trigger"]) == ("SUCCESS", 15, "celery")
        assert document["params"] == {"a": 5, "b": 10}


def test_gets_the_exception_of_a_job_that_fails(project: Project, client: Celery) -> None:
    with project.worker():
        sent = client.send_task("fail")
        with pytest.raises(ValueError, match="the invoice is missing"):
            sent.get(timeout=PATIENCE)
        assert sent.state == "FAILURE"
        assert "the invoice is missing" in sent.traceback


def test_sees_each_state_of_a_run_that_is_tried_again(project: Project, client: Celery) -> None:
    with project.worker():
        sent = client.send_task("flaky")
        seen: list[str] = []

        def finished() -> bool:
            state = sent.state
            if not seen or seen[-1] != state:
                seen.append(state)
            return bool(state == "SUCCESS")

        wait_until(finished, PATIENCE, "the run succeeds")
        assert sent.get(timeout=PATIENCE) == "at last"
        assert "RETRY" in seen
        assert set(seen) <= {"PENDING", "STARTED", "RETRY", "SUCCESS"}


def test_sees_that_a_run_is_started_and_that_it_was_revoked(project: Project, client: Celery) -> None:
    with project.worker():
        sent = client.send_task("hold")
        wait_until(lambda: sent.state == "STARTED", PATIENCE, "STARTED")
        project.cli("revoke", sent.id, "--terminate").check()
        with pytest.raises(TaskRevokedError):
            sent.get(timeout=PATIENCE)
        assert sent.state == "REVOKED"
        assert project.document(sent.id)["reason"] == "terminated"


def test_runs_of_a_client_wait_their_turn(project: Project, client: Celery) -> None:
    with project.worker(concurrency=1):
        first = client.send_task("hold")
        project.wait_for_state(first.id, "STARTED")
        second = client.send_task("add", kwargs={"a": 1})
        assert second.state == "PENDING"
        project.write({"release": ""})
        assert first.get(timeout=PATIENCE) == "held"
        assert second.get(timeout=PATIENCE) == 11


def test_a_job_may_have_the_queue_that_clients_publish_to(
    project: Project, client: Celery, broker_settings: dict[str, Any]
) -> None:
    waits = project.cli("submit", "beside").check()
    assert "no live worker takes runs from queue celery" in waits.stderr
    sent = client.send_task("add", kwargs={"a": 1})
    (queue,) = project.cli("queues", "--json").check().json
    # What a client has sent to RabbitMQ is counted there.
    waiting = {"5": 1} if broker_settings else {"5": 1, "0": 1}
    assert (queue["name"], queue["waiting"], queue["priorities"]) == ("celery", len(waiting), waiting)
    # Whatever queues a worker is given.
    with project.worker("-Q", "default", concurrency=1):
        project.wait_for_state(waits.id, "SUCCESS")
        assert sent.get(timeout=PATIENCE) == 11
        assert "warning" not in project.cli("submit", "beside", "--wait").check().stderr


@pytest.mark.parametrize(
    ("job", "options", "reason"),
    [
        ("add", {"kwargs": {"a": "five"}}, "invalid_params"),
        ("add", {"kwargs": {"a": 5, "c": 1}}, "invalid_params"),
        ("add", {"args": [5]}, "invalid_params"),
        ("broken", {}, "import_error"),
        ("off", {}, "invalid_params"),
    ],
)
def test_is_told_why_a_run_is_refused(
    project: Project, client: Celery, job: str, options: dict[str, Any], reason: str
) -> None:
    with project.worker():
        sent = client.send_task(job, **options)
        with pytest.raises(Exception, match=r".+"):
            sent.get(timeout=PATIENCE)
        assert sent.state == "FAILURE"
        assert project.document(sent.id)["reason"] == reason


def test_tasks_that_are_no_jobs_are_not_run(project: Project, client: Celery) -> None:
    with project.worker() as worker:
        for name in ("celery.backend_cleanup", "os.system", "work.add"):
            client.send_task(name, args=["touch pwned"])
        assert client.send_task("add", kwargs={"a": 1}).get(timeout=PATIENCE) == 11
        assert not (project.path / "pwned").exists()
        assert "pwned" not in worker.stdout


def test_the_generated_app_knows_the_truth_about_every_id(project: Project, client: Celery) -> None:
    """`AsyncResult` of the app in runner.celery, asked from outside of a worker."""
    program = """
import sys, json
from runner.celery import app
from runner.errors import UnknownRun
known, unknown = sys.argv[1:]
answer = app.AsyncResult(unknown)
assert (answer.state, app.backend.task_result_exists(unknown)) == ("PENDING", False)
try:
    answer.get(timeout=5)
except UnknownRun as error:
    raised = str(error)
print(json.dumps([app.AsyncResult(known).state, app.AsyncResult(known).get(timeout=30), raised]))
"""
    import json
    import subprocess
    import sys

    from tests.support.project import clean_environment

    unknown = str(uuid.uuid4())
    with project.worker():
        known = project.cli("submit", "add", "-p", "a=1", "--wait").check().id
        done = subprocess.run(
            [sys.executable, "-c", program, known, unknown],
            cwd=project.path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 0, done.stderr
    state, result, raised = json.loads(done.stdout)
    assert (state, result) == ("SUCCESS", 11)
    assert unknown in raised
