"""``runner workers``, seen from outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.cli.fleet import JOBS, PASSWORD, workers
from tests.cli.jobs import FILES
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.running import Running


def test_what_workers_run_is_in_the_ledger_without_values_of_the_environment(fleet: tuple[Project, Running]) -> None:
    project, _ = fleet
    from runner.ledger.specs import read_specs

    ledger = project.ledger()
    try:
        [worker] = ledger.workers()
        assert worker.catalog is not None
        text = read_specs(ledger, worker.catalog)
        assert text is not None
        assert "clijobs:hello" in text
        assert PASSWORD not in text
        assert 0 < ledger.client.ttl(f"{project.namespace}:specs:{worker.catalog}") <= 120
    finally:
        ledger.close()


def test_workers(fleet: tuple[Project, Running]) -> None:
    project, running = fleet
    [worker] = workers(project)
    assert set(worker) == {
        "name",
        "state",
        "host",
        "pid",
        "pool",
        "version",
        "queues",
        "concurrency",
        "running",
        "jobs",
        "catalog",
        "catalog_since",
        "problems",
        "kept",
        "started_at",
        "seen_at",
    }
    assert (worker["state"], worker["pid"], worker["queues"]) == ("running", running.pid, ["default"])
    assert (worker["concurrency"], worker["running"], worker["jobs"]) == (1, 0, 3)
    assert worker["problems"] == {"count": 0, "first": []}
    lines = project.cli("workers").check().stdout.splitlines()
    assert lines[0].split() == ["WORKER", "STATE", "RUNNING", "QUEUES", "JOBS", "CATALOG", "SINCE", "SEEN", "VERSION"]
    assert worker["name"] in lines[1]


@pytest.mark.timeout(120)
def test_a_worker_that_was_killed_is_shown_as_lost(fleet: tuple[Project, Running]) -> None:
    project, running = fleet
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: [worker["state"] for worker in workers(project)] == ["lost"], 60.0, "the worker counts as lost")
    assert project.ledger().workers() == []
    assert "no worker is alive" in project.cli("plan").check(1).stderr


def test_no_workers_and_no_queues(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES)
    assert project.cli("workers").check().stderr == "no workers\n"
    assert project.cli("queues").check().stderr == "no queues\n"
    assert project.cli("workers", "--json").check().json == project.cli("queues", "--json").check().json == []
