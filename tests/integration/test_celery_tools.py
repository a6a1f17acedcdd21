"""Celery's own command line and Flower, on the generated app: ``celery -A runner …``."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fault.server import RedisServer
from tests.support.command import CELERY, clean_environment
from tests.support.deadline import wait_until
from tests.support.project import Project, Result, celery_cli, write_project
from tests.support.running import Running
from tests.support.servers import Server, free_port

JOBS = {
    "add": {"task": "work:add", "params": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}}},
    "fail": {"task": "work:fail"},
}
WORK = "def add(a=0, b=0):\n    return a + b\n\ndef fail():\n    raise ValueError('no')\n"


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(JOBS, {"work.py": WORK})


def celery(project: Project, *words: str, timeout: float = 60.0) -> Result:
    return celery_cli(*words, cwd=project.path, timeout=timeout)


def test_inspect_registered_names_the_jobs(project: Project) -> None:
    with project.worker():
        done = celery(project, "inspect", "registered", "--json")
    assert done.exit_code == 0, done.stderr
    (tasks,) = json.loads(done.stdout).values()
    assert {task.split(" ")[0] for task in tasks} >= {"add", "fail"}
    assert not [task for task in tasks if task.startswith("work")]


def test_inspect_stats_tells_of_the_worker_and_keeps_secrets(project: Project, redis_server: Server) -> None:
    with project.worker(concurrency=2) as worker:
        done = celery(project, "inspect", "stats", "--json")
    assert done.exit_code == 0, done.stderr
    (stats,) = json.loads(done.stdout).values()
    assert stats["pool"]["max-concurrency"] == 2
    password = urlsplit(redis_server.url).password
    assert password is None or password not in done.stdout + worker.log


def test_call_submits_a_run_and_result_reads_it(project: Project) -> None:
    with project.worker():
        called = celery(project, "call", "add", "--kwargs", '{"a": 4}')
        assert called.exit_code == 0, called.stderr
        run_id = called.stdout.split()[-1]
        project.wait_for_state(run_id, "SUCCESS")
        read = celery(project, "result", run_id)
    assert read.exit_code == 0, read.stderr
    assert read.stdout.strip() == "5"
    assert project.document(run_id)["trigger"] == "celery"


def test_call_refuses_what_is_no_job(project: Project) -> None:
    done = celery(project, "call", "ad", "--kwargs", "{}")
    assert done.exit_code != 0
    assert "no job is named 'ad'" in done.stderr


def test_celery_worker_runs_jobs(project: Project) -> None:
    # By a new interpreter: what nothing has imported before is seen here.
    command = ["/usr/bin/env", *CELERY, "worker", "-c", "1", "-l", "INFO"]
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

    def page(self, path: str) -> tuple[int, str]:
        """Return status and text of a page."""
        return self._answer(urllib.request.Request(self.base + path))

    def post(self, path: str) -> tuple[int, str]:
        """Return status and text of what a button does."""
        return self._answer(urllib.request.Request(self.base + path, data=b"", method="POST"))

    def _answer(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

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


SLOW = {**JOBS, "sleep": {"task": "work:sleep"}, "twice": {"task": "work:die", "max_deliveries": 1}}
SLOW_WORK = f"{WORK}\nimport os, time\n\ndef sleep():\n    time.sleep(300)\n\ndef die():\n    os.kill(os.getpid(), 9)\n"


@contextmanager
def flower_beside(project: Project) -> Iterator[Flower]:
    """Run Flower for a project; its pages are those of somebody who has logged in."""
    port = free_port()
    command = [*CELERY, "flower", "--address=127.0.0.1", f"--port={port}"]
    environment = clean_environment({"FLOWER_UNAUTHENTICATED_API": "true"})
    flower = Flower(port)
    with Running(command, cwd=project.path, env=environment) as process:
        process.wait_for("Connected to", 40.0)
        wait_until(flower.is_up, 40.0, "Flower answers")
        yield flower


def name_of(project: Project) -> str:
    (worker,) = project.cli("workers", "--json").check().json
    return str(worker["name"])


@pytest.mark.parametrize("mode", ["safe", "full"])
def test_flowers_pages_and_buttons_tell_the_truth(tmp_path: Path, mode: str) -> None:
    with RedisServer(tmp_path, fsync="no") as server:
        settings = {"celery": {"worker_send_task_events": True}, "worker": {"remote_control": mode}}
        project = write_project(tmp_path / "p", server.url, SLOW, {"work.py": SLOW_WORK}, settings)
        with project.worker(concurrency=1) as worker, flower_beside(project) as flower:
            name = name_of(project)

            def shown(run_id: str) -> str | None:
                return dict(flower.get("/api/tasks").get(run_id, {})).get("state")

            # The page of a worker.
            status, text = flower.page(f"/worker/{name}")
            assert status == 200
            assert "broker_url" in text
            # Lengths of queues, of every priority.
            running = project.submit("sleep")
            project.wait_for_state(running, "STARTED")
            for priority in (0, 5, 9):
                project.submit("add", "--priority", str(priority))
            status, text = flower.page("/broker")
            assert status == 200
            assert re.search(r"default\s*</td>\s*<td[^>]*>\s*3\s*<", text), text
            # Revoke and terminate.
            waits = project.submit("sleep")
            assert flower.post(f"/api/task/revoke/{waits}")[0] == 200
            assert project.document(waits)["state"] == "REVOKED"
            wait_until(lambda: shown(running) == "STARTED", 30.0, "Flower shows that it runs")
            assert flower.post(f"/api/task/revoke/{running}?terminate=true")[0] == 200
            assert project.wait_for_state(running, "REVOKED")["reason"] == "terminated"
            wait_until(lambda: shown(running) == "REVOKED", 30.0, "Flower shows that it was revoked")
            assert flower.post("/api/task/revoke/00000000-0000-0000-0000-000000000000")[0] != 200
            # A lost process.
            lost = project.submit("twice")
            project.wait_for_state(lost, "FAILURE")
            wait_until(lambda: shown(lost) == "FAILURE", 30.0, "Flower shows the failure")
            # Shut down.
            status, _ = flower.post(f"/api/worker/shutdown/{name}")
            if mode == "safe":
                assert status != 200
                assert worker.process.poll() is None
            else:
                assert status == 200
                assert worker.wait(60.0) == 0
