"""``runner plan``, ``runner workers`` and ``runner queues``, seen from outside."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import FILES
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.running import Running

PASSWORD = "correct-horse-battery"
JOBS = f"""\
jobs:
  hello:
    task: "clijobs:hello"
    timeout: 30s
    env: {{PASSWORD: {PASSWORD}, MODE: one}}
  nightly:
    task: "clijobs:hello"
    schedule: "0 2 * * *"
  gone: {{task: "clijobs:hello"}}
"""
CHANGED = (
    JOBS.replace("timeout: 30s", "timeout: 1m\n    retry: {max_retries: 2}")
    .replace(PASSWORD, "another-password")
    .replace("0 2", "0 3")
    .replace("gone", "fresh")
)


@pytest.fixture
def fleet(make_project: Callable[..., Project]) -> Iterator[tuple[Project, Running]]:
    """A project, and a worker of it that has told what it runs."""
    project = make_project(JOBS, FILES)
    with project.worker(concurrency=1) as worker:
        wait_until(lambda: any(each["catalog"] for each in workers(project)), 30.0, "the worker tells what it runs")
        yield project, worker


def workers(project: Project) -> list[dict[str, Any]]:
    return list(project.cli("workers", "--json").check().json)


def beside(project: Project, jobs: str, tmp_path: Path) -> Project:
    """Return the same project with other jobs, as somebody has it who has not deployed yet."""
    return write_project(tmp_path / "beside", project.redis_url, jobs, FILES, None, project.namespace)


def test_plan_without_a_difference(fleet: tuple[Project, Running]) -> None:
    result = fleet[0].cli("plan").check(0)
    assert (result.stdout, result.stderr) == ("", "no changes: 1 worker\n")


def test_plan_tells_what_differs(fleet: tuple[Project, Running], tmp_path: Path) -> None:
    project, _ = fleet
    project.submit("hello", "--in", "1h")
    ahead = beside(project, CHANGED, tmp_path)
    told = ahead.cli("plan", "--json").check(1).json
    assert set(told) == {"added", "changed", "removed", "schedules", "queued", "workers", "problems"}
    assert (told["added"], told["removed"], list(told["changed"])) == (["fresh"], ["gone"], ["hello", "nightly"])
    options = {each["option"]: (each["before"], each["after"]) for each in told["changed"]["hello"]}
    assert set(options) == {"timeout", "retry.max_retries", "env.PASSWORD"}
    assert options["timeout"] == ("30s", "1m")
    assert options["retry.max_retries"] == (None, 2)
    [moved] = told["schedules"]
    assert moved["job"] == "nightly"
    assert [{each[11:16] for each in moved[when]} for when in ("before", "after")] == [{"02:00"}, {"03:00"}]
    assert told["queued"] == {"hello": 1}
    [worker] = told["workers"]
    assert set(worker) == {"name", "catalog", "current", "behind"}
    assert (worker["current"], worker["behind"]) == (False, None)
    shown = ahead.cli("plan").check(1).stdout
    assert {"+ fresh", "~ hello", '    timeout: "30s" -> "1m"', "- gone"} <= set(shown.splitlines())
    assert "another-password" not in shown + json.dumps(told)


def test_plan_with_problems_tells_the_rest(fleet: tuple[Project, Running], tmp_path: Path) -> None:
    ahead = beside(fleet[0], JOBS.replace("30s", "30") + "  more: {task: 'clijobs:hello'}\n", tmp_path)
    result = ahead.cli("plan").check(2)
    assert "jobs.hello.timeout: 30 has no unit" in result.stderr
    assert result.stdout == "+ more\n"
    told = ahead.cli("plan", "--json").check(2).json
    assert (told["added"], told["removed"], len(told["problems"])) == (["more"], [], 1)


def test_plan_without_a_worker(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES)
    result = project.cli("plan").check(1)
    assert "no worker is alive" in result.stderr
    assert {"+ gone", "+ hello", "+ nightly"} <= set(result.stdout.splitlines())


def test_plan_tells_who_is_behind(fleet: tuple[Project, Running], tmp_path: Path) -> None:
    project, _ = fleet
    with beside(project, CHANGED, tmp_path).worker(concurrency=1):
        wait_until(lambda: all(each["catalog"] for each in workers(project)), 30.0, "both tell what they run")
        # One of two is no majority: the last one counts, so the first is behind.
        assert project.cli("plan").check(1).stdout.count("behind: ") == 1
        told = {each["current"] for each in project.cli("plan", "--json").check(1).json["workers"]}
        assert told == {True, False}
        assert "catalogs" in project.cli("doctor").check(1).stdout


def test_what_workers_run_is_in_the_ledger_without_values_of_the_environment(fleet: tuple[Project, Running]) -> None:
    project, _ = fleet
    from runner.ledger.specs import read_specs

    ledger = project.ledger()
    try:
        [worker] = ledger.workers()
        text = read_specs(ledger, worker["catalog"])
        assert text is not None
        assert "clijobs:hello" in text
        assert PASSWORD not in text
        assert 0 < ledger.client.ttl(f"{project.namespace}:specs:{worker['catalog']}") <= 120
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
    wait_until(lambda: [each["state"] for each in workers(project)] == ["lost"], 60.0, "the worker counts as lost")
    assert project.ledger().workers() == []
    assert "no worker is alive" in project.cli("plan").check(1).stderr


def test_no_workers_and_no_queues(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES)
    assert project.cli("workers").check().stderr == "no workers\n"
    assert project.cli("queues").check().stderr == "no queues\n"
    assert project.cli("workers", "--json").check().json == project.cli("queues", "--json").check().json == []


def test_queues(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES)
    for priority in ("9", "9", "2"):
        project.submit("hello", "--priority", priority)
    project.submit("hello", "--in", "1h")
    project.submit("hello", "--queue", "other")
    first, other = project.cli("queues", "--json").check().json
    assert set(first) == {"name", "waiting", "priorities", "delayed", "workers", "concurrency", "running", "oldest"}
    assert (first["name"], first["waiting"], first["priorities"]) == ("default", 3, {"9": 2, "2": 1})
    assert (first["delayed"], first["workers"], first["concurrency"]) == (1, 0, 0)
    assert first["oldest"] > 0
    assert (other["name"], other["waiting"]) == ("other", 1)
    result = project.cli("queues").check()
    assert result.stdout.splitlines()[0].split() == ["QUEUE", "WAITING", "PRIORITIES", "DELAYED", "WORKERS", "OLDEST"]
    assert f"no worker takes from queue other: runner worker -Q other --project {project.path}\n" in result.stderr
