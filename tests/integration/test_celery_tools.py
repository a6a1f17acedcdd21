"""Celery's own command line and Flower, on the generated app: ``celery -A runner …``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project, clean_environment
from tests.support.running import Running
from tests.support.servers import Server, free_port

CELERY = [sys.executable, "-m", "celery", "-A", "runner"]

JOBS = {
    "add": {"task": "work:add", "params": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}}},
    "fail": {"task": "work:fail"},
}
WORK = "def add(a=0, b=0):\n    return a + b\n\ndef fail():\n    raise ValueError('no')\n"


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(JOBS, {"work.py": WORK})


def celery(project: Project, *words: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CELERY, *words],
        cwd=project.path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_inspect_registered_names_the_jobs(project: Project) -> None:
    with project.worker():
        done = celery(project, "inspect", "registered", "--json")
    assert done.returncode == 0, done.stderr
    (tasks,) = json.loads(done.stdout).values()
    assert {task.split(" ")[0] for task in tasks} >= {"add", "fail"}
    assert not [task for task in tasks if task.startswith("work")]


def test_inspect_stats_tells_of_the_worker_and_keeps_secrets(project: Project, redis_server: Server) -> None:
    with project.worker(concurrency=2) as worker:
        done = celery(project, "inspect", "stats", "--json")
    assert done.returncode == 0, done.stderr
    (stats,) = json.loads(done.stdout).values()
    assert stats["pool"]["max-concurrency"] == 2
    password = urlsplit(redis_server.url).password
    assert password is None or password not in done.stdout + worker.log


def test_call_submits_a_run_and_result_reads_it(project: Project) -> None:
    with project.worker():
        called = celery(project, "call", "add", "--kwargs", '{"a": 4}')
        assert called.returncode == 0, called.stderr
        run_id = called.stdout.split()[-1]
        project.wait_for_state(run_id, "SUCCESS")
        read = celery(project, "result", run_id)
    assert read.returncode == 0, read.stderr
    assert read.stdout.strip() == "5"
    assert project.document(run_id)["trigger"] == "celery"


def test_call_refuses_what_is_no_job(project: Project) -> None:
    done = celery(project, "call", "ad", "--kwargs", "{}")
    assert done.returncode != 0
    assert "no job is named 'ad'" in done.stderr


def test_celery_worker_runs_jobs(project: Project) -> None:
    command = [*CELERY, "worker", "-c", "1", "-l", "INFO"]
    with Running(command, cwd=project.path, env=clean_environment()) as worker:
        worker.wait_for("runner worker ready", 40.0)
        done = project.cli("submit", "add", "-p", "a=2", "--wait", "--json").check()
        assert json.loads(done.stdout)["result"] == 3
        worker.signal(signal.SIGTERM)
        assert worker.wait(40.0) == 0


class Flower:
    """A running Flower, asked by its HTTP API."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.base + path, timeout=20) as answer:
            return json.load(answer)

    def is_up(self) -> bool:
        try:
            return isinstance(self.get("/api/workers"), dict)
        except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
            return False


def test_flower_shows_the_jobs_and_their_runs(make_project: Callable[..., Project]) -> None:
    # Flower lists tasks out of Celery's events, which are off unless somebody wants them.
    project = make_project(JOBS, {"work.py": WORK}, {"celery": {"worker_send_task_events": True}})
    port = free_port()
    command = [*CELERY, "flower", "--address=127.0.0.1", f"--port={port}"]
    environment = clean_environment({"FLOWER_UNAUTHENTICATED_API": "true"})
    flower = Flower(port)
    with project.worker(), Running(command, cwd=project.path, env=environment) as process:
        process.wait_for("Connected to", 40.0)
        wait_until(flower.is_up, 40.0, "Flower answers")

        def jobs() -> set[str]:
            workers = flower.get("/api/workers?refresh=true").values()
            return {task.split(" ")[0] for worker in workers for task in worker.get("registered", [])}

        wait_until(lambda: jobs() >= {"add", "fail"}, 40.0, "Flower shows the jobs")
        good = project.cli("submit", "add", "-p", "a=2", "--wait").check().id
        bad = project.cli("submit", "fail", "--wait").check(1).id

        def shown() -> dict[str, tuple[str, str]]:
            return {run_id: (task["name"], task["state"]) for run_id, task in flower.get("/api/tasks").items()}

        wait_until(lambda: (good in shown()) and shown()[good][1] == "SUCCESS", 30.0, "Flower shows the success")
        wait_until(lambda: (bad in shown()) and shown()[bad][1] == "FAILURE", 30.0, "Flower shows the failure")
        assert shown()[good] == ("add", "SUCCESS")
        assert shown()[bad] == ("fail", "FAILURE")
