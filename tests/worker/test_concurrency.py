"""The limit of concurrency seen from outside: each run takes a lock on a file and writes down what it saw."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.model.run import State
from tests.support.deadline import wait_until
from tests.support.processes import takers_of
from tests.support.project import Project
from tests.support.running import Running
from tests.support.work import FILES, JOBS

WITNESS = '''
import fcntl, json, os, subprocess, time

def note(folder, **fields):
    with open(f"{folder}/notes.jsonl", "a") as notes:
        notes.write(json.dumps({"pid": os.getpid(), **fields}) + "\\n")

def hold(folder, seconds, places):
    """Take one of so many places, each a locked file, or tell that there was none."""
    for place in range(places):
        lock = open(f"{folder}/place-{place}", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        note(folder, took=place)
        time.sleep(seconds)
        # The lock ends with the process, or here.
        lock.close()
        return place
    note(folder, violation=True)
    raise RuntimeError("more run than may")
'''

HOLDS: dict[str, Any] = {
    "task": "witness:hold",
    "params": {"folder": {"type": "string"}, "seconds": {"type": "number"}},
    "kwargs": {"places": 3},
    "max_deliveries": 50,
    "concurrency": {"limit": 3},
}


def read(folder: Path) -> list[dict[str, Any]]:
    path = folder / "notes.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_never_more_than_the_limit_whatever_is_killed(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project({"hold": HOLDS}, {**FILES, "witness.py": WITNESS}, {"worker": {"lease": "2s"}})
    opened, dice = Opened.open(project.path), random.Random(7)
    params = {"folder": str(tmp_path), "seconds": 0.02}
    ids = [submit(opened, "hold", params, trigger="api").id for _ in range(200)]
    with ExitStack() as stack:
        workers: list[Running] = [stack.enter_context(project.worker(concurrency=3)) for _ in range(2)]

        def ended() -> int:
            return sum(opened.ledger.client.zcard(f"{opened.ledger.namespace}:state:{state}") for state in ("SUCCESS",))

        for victims in range(10):
            wait_until(lambda so_far=victims: ended() >= 15 * so_far, 90.0, "runs end")  # type: ignore[misc]
            worker = dice.choice(workers)
            if victims % 5 == 4:
                os.kill(worker.pid, signal.SIGKILL)
                workers.remove(worker)
                workers.append(stack.enter_context(project.worker(concurrency=3)))
            elif found := takers_of(worker.pid):
                os.kill(dice.choice(found), signal.SIGKILL)
        wait_until(lambda: all(run.final for run in opened.ledger.get_many(ids)), 90.0, "all runs end")
    assert {run.state for run in opened.ledger.get_many(ids)} == {State.SUCCESS}
    assert not [line for line in read(tmp_path) if "violation" in line]
    client, namespace = opened.ledger.client, opened.ledger.namespace
    assert not client.exists(f"{namespace}:holders:hold", f"{namespace}:waiting:hold"), "a slot leaked"


def test_the_next_one_starts_at_once_and_in_order(make_project: Callable[..., Project], tmp_path: Path) -> None:
    one = {**HOLDS, "kwargs": {"places": 1}, "concurrency": {"limit": 1}}
    project = make_project({"hold": one}, {**FILES, "witness.py": WITNESS})
    opened = Opened.open(project.path)
    with project.worker(concurrency=4):
        params = {"folder": str(tmp_path), "seconds": 0.05}
        ids = [submit(opened, "hold", params, trigger="api").id for _ in range(8)]
        wait_until(lambda: all(run.final for run in opened.ledger.get_many(ids)), 60.0, "all runs end")
    runs = opened.ledger.get_many(ids)
    assert {run.state for run in runs} == {State.SUCCESS}
    started = [run.started_at or "" for run in runs]
    assert started == sorted(started)


def test_replace_ends_the_oldest_with_its_processes_first(make_project: Callable[..., Project], tmp_path: Path) -> None:
    one = {**HOLDS, "kwargs": {"places": 1}, "concurrency": {"limit": 1, "policy": "replace"}}
    project = make_project({"hold": one}, {**FILES, "witness.py": WITNESS})
    with project.worker(concurrency=2):
        words = ["-p", f"folder={tmp_path}", "-p", "seconds=300"]
        first = project.cli("submit", "hold", *words).check().id
        wait_until(lambda: len(read(tmp_path)) == 1, 30.0, "the first one runs")
        second = project.cli("submit", "hold", "-p", f"folder={tmp_path}", "-p", "seconds=0").check().id
        assert project.cli("wait", second).check().exit_code == 0
        done = project.document(first)
        assert (done["state"], done["reason"]) == ("REVOKED", "replaced")
    assert not [line for line in read(tmp_path) if "violation" in line]


def test_skip_is_revoked_and_exits_with_3(make_project: Callable[..., Project], tmp_path: Path) -> None:
    one = {**HOLDS, "concurrency": {"limit": 1, "policy": "skip"}}
    project = make_project({"hold": one}, {**FILES, "witness.py": WITNESS})
    words = ["-p", f"folder={tmp_path}", "-p", "seconds=0"]
    first = project.cli("submit", "hold", *words).check().id
    second = project.cli("submit", "hold", *words, "--wait").check(3)
    assert project.document(second.id)["reason"] == "skipped"
    assert project.cli("submit", "hold", *words).check(0)
    with project.worker():
        project.cli("wait", first).check(0)
        project.cli("submit", "hold", *words, "--wait").check(0)


def test_a_pause_holds_what_waits_until_it_ends(make_project: Callable[..., Project]) -> None:
    jobs = {"shared": JOBS["shared"], "echo": JOBS["echo"]}
    project = make_project(jobs, FILES)
    waiting = [project.cli("submit", "shared").check().id for _ in range(3)]
    paused = project.cli("pause", "shared", "--comment", "moving house").check()
    assert "paused: shared" in paused.stderr
    with project.worker():
        # The worker comes to the runs before the one behind them, and sets them aside.
        project.cli("submit", "echo", "--wait").check(0)
        assert {project.document(run_id)["detail"] for run_id in waiting} == {"the job is paused"}
        refused = project.cli("submit", "shared").check(5)
        assert "moving house" in refused.stderr
        assert "resume shared" in refused.stderr
        project.cli("submit", "shared", "--force", "--wait").check(0)
        listed = {job["name"]: job["paused"] for job in project.cli("jobs", "--json").check().json}
        assert listed["echo"] is None
        assert listed["shared"]["comment"] == "moving house"
        assert "paused: shared" in project.cli("jobs").check().stderr
        project.cli("resume", "shared").check()
        project.cli("wait", *waiting).check(0)
        project.cli("pause", "--all", "--for", "300ms").check()
        wait_until(lambda: project.cli("submit", "echo").exit_code == 0, 30.0, "the pause ends by itself")


def test_a_paused_job_does_not_fire(make_project: Callable[..., Project]) -> None:
    project = make_project({"shared": {**JOBS["shared"], "schedule": {"every": "1s"}}}, FILES)
    project.cli("tick").check()
    project.cli("pause", "shared").check()
    second = time.time() // 1
    wait_until(lambda: time.time() // 1 > second + 1, 10.0, "a slot passes")
    project.cli("tick").check()
    assert project.ledger().runs() == []
    project.cli("resume", "shared").check()
    wait_until(lambda: bool(project.cli("tick").check() and project.ledger().runs()), 20.0, "it fires again")
