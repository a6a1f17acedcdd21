"""A fault of the runner's own pipes and descriptors is never an outcome of the job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.model.run import State
from tests.support.deadline import wait_until
from tests.support.processes import takers_of
from tests.support.project import Project
from tests.support.running import Running
from tests.support.work import Work

MODULE = """
import ctypes, json, os, signal, subprocess, sys, time
from pathlib import Path

from celery import signals


def kill_the_worker():
    # Once: the run starts again under another worker.
    if killed.exists():
        return
    killed.touch()
    template = Path(f"/proc/{os.getppid()}/stat").read_text()
    os.kill(int(template.rpartition(")")[2].split()[1]), signal.SIGKILL)
    time.sleep(60)


killed = Path("killed")


def prepare():
    signals.task_prerun.connect(before, weak=False)


def before(sender, **_):
    if sender.name == "begin":
        kill_the_worker()


def note(path):
    with Path(path).open("a") as file:
        print(json.dumps({"pid": os.getpid()}), file=file)


def begin(notes):
    note(notes)
    return "done"


def prints(notes):
    note(notes)
    kill_the_worker()
    for _ in range(1000):
        print("a line")
    subprocess.run(["sh", "-c", "echo from a program"], check=True)
    return "done"


def logs(notes):
    import logging
    note(notes)
    kill_the_worker()
    logging.getLogger("job").warning("a record")
    return "done"


def end(notes):
    note(notes)
    print("before")
    kill_the_worker()
    return "done"


def fails(notes):
    note(notes)
    kill_the_worker()
    print("after")
    raise ValueError("of the job")


def closes_all():
    os.closerange(3, 256)
    return "done"


def closes_one(number):
    os.close(number)
    return "done"


def echo():
    return "well"
"""
NOTES = {"notes": {"type": "string"}}
KILLS = ["begin", "prints", "logs", "end", "fails"]
JOBS: dict[str, Any] = {name: {"task": f"plumbing:{name}", "params": NOTES} for name in KILLS}
JOBS |= {
    "closes-all": {"task": "plumbing:closes_all"},
    "closes-one": {"task": "plumbing:closes_one", "params": {"number": {"type": "integer"}}},
    "echo": {"task": "plumbing:echo"},
}


@pytest.fixture
def plumbing(make_project: Callable[..., Project]) -> Project:
    settings = {"worker": {"lease": "2s"}, "setup": "plumbing:prepare"}
    return make_project(JOBS, {"plumbing.py": MODULE}, settings)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("job", KILLS)
def test_the_death_of_the_worker_is_no_failure_of_the_job(plumbing: Project, tmp_path: Path, job: str) -> None:
    notes = tmp_path / "notes"
    with plumbing.worker(concurrency=1) as worker:
        run_id = plumbing.submit(job, "-p", f"notes={notes}")
        worker.process.wait(30.0)
    # Its takers have ended with it; another worker starts the run again once the lease has run out.
    with plumbing.worker(concurrency=1):
        run = plumbing.wait_for_state(run_id, "SUCCESS", "FAILURE", deadline=60.0)
    if job == "fails":
        assert (run["reason"], run["error"]["message"]) == ("exception", "of the job")
    else:
        assert (run["state"], run["result"]) == ("SUCCESS", "done")
    assert (run["attempts"], run["losses"]) == (2, 1)
    pids = [json.loads(line)["pid"] for line in notes.read_text().splitlines()] if notes.exists() else []
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid), 30.0, "the process of the run ends")  # type: ignore[misc]


def descriptors_of_children(worker: Running) -> set[int]:
    """Return the numbers of the descriptors that takers have open."""
    return {int(path.name) for taker in takers_of(worker.pid) for path in Path(f"/proc/{taker}/fd").iterdir()}


def test_a_job_that_closes_descriptors_of_its_process_ends_as_it_says(plumbing: Project) -> None:
    work = Work(plumbing)
    with plumbing.worker(concurrency=1) as worker:
        assert work.run("echo").result == "well"
        numbers = sorted(descriptors_of_children(worker))
        jobs: list[tuple[str, dict[str, int]]] = [("closes-all", {})]
        jobs += [("closes-one", {"number": number}) for number in numbers]
        for job, params in jobs:
            run = work.run(job, **params)
            assert (run.state, run.result, run.attempts, run.losses) == (State.SUCCESS, "done", 1, 0), params
            assert work.run("echo").result == "well"
        assert worker.process.poll() is None
