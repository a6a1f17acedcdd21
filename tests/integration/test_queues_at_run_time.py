"""Queues that are added to and removed from a running worker: ``celery control add_consumer``, ``cancel_consumer``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.model.submit_options import SubmitOptions
from tests.support.deadline import wait_until
from tests.support.project import Project, celery_cli

JOBS = {
    "hold": {"task": "work:hold"},
    "note": {"task": "work:note", "params": {"name": {"type": "string"}}},
}
WORK = """
import time
from pathlib import Path

def hold():
    Path("holding").touch()
    end = time.monotonic() + 60
    while not Path("release").exists() and time.monotonic() < end:
        time.sleep(0.02)

def note(name):
    with open("order", "a") as order:
        order.write(name + "\\n")
"""


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(JOBS, {"work.py": WORK}, {"worker": {"remote_control": "full"}})


def control(project: Project, *words: str) -> list[dict[str, str]]:
    done = celery_cli("control", *words, "--json", cwd=project.path)
    assert "Traceback" not in done.stderr
    return [answer for reply in json.loads(done.stdout) for answer in reply.values()]


def queues(project: Project) -> set[str]:
    (worker,) = project.cli("workers", "--json").check().json
    return set(worker["queues"])


def order(project: Project) -> list[str]:
    path: Path = project.path / "order"
    return path.read_text().split() if path.exists() else []


def test_runs_of_every_priority_are_claimed_after_a_queue_was_added(project: Project) -> None:
    with project.worker(concurrency=1) as worker:
        assert control(project, "add_consumer", "zzz") == [{"ok": "takes runs from zzz"}]
        wait_until(lambda: "zzz" in queues(project), 30.0, "the worker says so")
        first = project.submit("hold")
        wait_until((project.path / "holding").exists, 30.0, "the worker is busy")
        opened = Opened.open(project.path)
        ids = [
            submit(opened, "note", {"name": f"{at}{number}"}, options=SubmitOptions(queue=at, priority=number)).id
            for at in ("default", "zzz")
            for number in range(10)
        ]
        project.write({"release": ""})
        for run_id in (first, *ids):
            assert project.wait_for_state(run_id, "SUCCESS", "FAILURE", "REVOKED")["attempts"] == 1
        found = order(project)
        # The higher priority first, whichever the queue.
        assert [int(name[-1]) for name in found] == sorted((int(name[-1]) for name in found), reverse=True)
        assert len(found) == 20
        client = project.redis()
        assert client.hlen(f"{project.namespace}:claims") == 0
        client.close()
        assert worker.process.poll() is None


def test_a_queue_that_was_cancelled_keeps_its_runs(project: Project) -> None:
    with project.worker("-Q", "a,b", concurrency=1):
        assert control(project, "cancel_consumer", "a") == [{"ok": "takes no more runs from a"}]
        wait_until(lambda: queues(project) == {"b"}, 30.0, "the worker says so")
        stays = project.submit("note", "--queue", "a", "-p", "name=a")
        runs = project.submit("note", "--queue", "b", "-p", "name=b")
        project.wait_for_state(runs, "SUCCESS")
        assert project.document(stays)["state"] == "PENDING"
        control(project, "add_consumer", "a")
        project.wait_for_state(stays, "SUCCESS")


def test_the_last_queue_can_be_cancelled_and_added_again(project: Project) -> None:
    with project.worker("-Q", "a", concurrency=1) as worker:
        control(project, "cancel_consumer", "a")
        wait_until(lambda: queues(project) <= {""}, 30.0, "the worker takes from none")
        run_id = project.submit("note", "--queue", "a", "-p", "name=a")
        control(project, "add_consumer", "a")
        project.wait_for_state(run_id, "SUCCESS")
        assert worker.terminate() == 0


@pytest.mark.parametrize(
    "words",
    [["add_consumer", "no good"], ["add_consumer", "x", "ex", "topic", "key"], ["cancel_consumer", "unknown"]],
    ids=" ".join,
)
def test_what_is_no_queue_of_runs_is_refused_with_an_answer(project: Project, words: list[str]) -> None:
    with project.worker(concurrency=1):
        before = queues(project)
        (answer,) = control(project, *words)
        assert set(answer) == {"error"}
        assert queues(project) == before


def test_celery_purge_does_not_take_messages_from_runs(project: Project) -> None:
    run_id = project.submit("note", "-p", "name=a", "--priority", "9")
    done = celery_cli("purge", "-f", cwd=project.path)
    assert "Traceback" not in done.stderr
    with project.worker(concurrency=1):
        project.wait_for_state(run_id, "SUCCESS")
