"""Options of ``celery -A runner worker``: each is honored, or refused by its name."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from runner.api import RunHandle
from tests.support.command import CELERY
from tests.support.deadline import wait_until
from tests.support.project import Project, clean_environment
from tests.support.running import Running
from tests.support.work import Work

WORK = """
import os, time
from pathlib import Path


def where():
    return os.getpid()

def hold():
    end = time.monotonic() + 60
    while not Path("release").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return os.getpid()
"""
JOBS: dict[str, Any] = {
    "where": {"task": "work:where"},
    "hold": {"task": "work:hold"},
    "reported": {"task": "work:where", "queue": "reports"},
    "mailed": {"task": "work:where", "queue": "mails"},
}

Make = Callable[..., Project]


@pytest.fixture
def project(make_project: Make) -> Project:
    return make_project(JOBS, {"work.py": WORK}, {"worker": {"concurrency": 3}})


def worker(project: Project, *options: str, ready: bool = True) -> Running:
    command = [*CELERY, "worker", "-l", "INFO", *options]
    started = Running(command, cwd=project.path, env=clean_environment())
    if ready:
        try:
            started.wait_for("runner worker ready", 40.0)
        except BaseException:
            started.__exit__(*sys.exc_info())
            raise
    return started


def only_worker(project: Project) -> dict[str, Any]:
    """Return the record of the one worker."""
    found = wait_until(lambda: project.cli("workers", "--json").check().json, 30.0, "the record of the worker")
    (record,) = found
    return dict(record)


def all_at_once(project: Project, count: int) -> list[int]:
    """Have as many runs at the same time; return their processes."""
    work = Work(project)
    runs: list[RunHandle] = [work.submit("hold") for _ in range(count)]
    for run in runs:
        project.wait_for_state(run.id, "STARTED")
    project.write({"release": ""})
    return [int(run.wait(30.0).result) for run in runs]


def test_name_concurrency_and_queues(project: Project) -> None:
    with worker(project, "-n", "shop@%h", "-c", "2", "-Q", "reports,mails,new", "-X", "mails"):
        record = only_worker(project)
        assert record["name"] == f"shop@{socket.gethostname()}"
        assert (record["concurrency"], record["pool"]) == (2, "prefork")
        assert set(record["queues"]) == {"reports", "new"}
        work = Work(project)
        others = [work.submit("where"), work.submit("mailed")]
        assert work.run("reported").worker == record["name"]
        moved = project.submit("where", "--queue", "new")
        assert project.wait_for_state(moved, "SUCCESS")["worker"] == record["name"]
        assert [project.document(run.id)["state"] for run in others] == ["PENDING"] * 2


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_pools(project: Project, pool: str) -> None:
    with worker(project, "-P", pool) as running:
        record = only_worker(project)
        assert pool.startswith(record["pool"])
        # Without -c it is that of runner.yaml.
        at_once = 1 if pool == "solo" else 3
        pids = all_at_once(project, at_once)
        if pool == "prefork":
            assert len(set(pids)) == 3
            assert running.pid not in pids
        else:
            assert set(pids) == {running.pid}


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_that_cannot_honor_a_job_is_refused(make_project: Make, pool: str) -> None:
    project = make_project({"timed": {"task": "work:where", "timeout": "5s"}}, {"work.py": WORK})
    with worker(project, "-P", pool, ready=False) as running:
        assert running.wait(40.0) != 0
        assert "timed (timeout)" in running.stderr


@pytest.mark.parametrize("options", [("--max-tasks-per-child", "1"), ("--max-memory-per-child", "1")], ids=" ".join)
def test_a_process_is_replaced_after_a_run(project: Project, options: tuple[str, str]) -> None:
    with worker(project, "-c", "1", *options):
        work = Work(project)
        pids = [work.run("where").result for _ in range(3)]
        assert len(set(pids)) == 3


def test_a_process_is_replaced_after_several_runs(project: Project) -> None:
    with worker(project, "-c", "1", "--max-tasks-per-child", "2"):
        work = Work(project)
        first, second, third, fourth = (work.run("where").result for _ in range(4))
        assert (first, third) == (second, fourth)
        assert first != third


def test_a_pool_grows_with_the_runs_that_wait(project: Project) -> None:
    with worker(project, "--autoscale", "3,1"):
        assert len(set(all_at_once(project, 3))) == 3


def test_purge_is_refused_and_takes_no_run(project: Project) -> None:
    run_id = project.submit("where")
    with worker(project, "--purge", ready=False) as running:
        assert running.wait(40.0) != os.EX_OK
        assert "is not purged" in running.stderr
    assert project.document(run_id)["state"] == "PENDING"
