"""``runner plan``, seen from outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.fleet import CHANGED, JOBS, beside, workers
from tests.cli.jobs import FILES
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.running import Running


def test_plan_without_a_difference(fleet: tuple[Project, Running]) -> None:
    result = fleet[0].cli("plan").check(0)
    assert (result.stdout, result.stderr) == ("", "no changes: 1 worker\n")


def test_plan_tells_what_differs(fleet: tuple[Project, Running], tmp_path: Path) -> None:
    project, _ = fleet
    project.submit("hello", "--in", "1h")
    ahead = beside(project, CHANGED, tmp_path)
    plan = ahead.cli("plan", "--json").check(1).json
    assert set(plan) == {"added", "changed", "removed", "schedules", "queued", "workers", "problems"}
    assert (plan["added"], plan["removed"], list(plan["changed"])) == (["fresh"], ["gone"], ["hello", "nightly"])
    options = {change["option"]: (change["before"], change["after"]) for change in plan["changed"]["hello"]}
    assert set(options) == {"timeout", "retry.max_retries", "env.PASSWORD"}
    assert options["timeout"] == ("30s", "1m")
    assert options["retry.max_retries"] == (None, 2)
    [moved] = plan["schedules"]
    assert moved["job"] == "nightly"
    assert [{slot[11:16] for slot in moved[when]} for when in ("before", "after")] == [{"02:00"}, {"03:00"}]
    assert plan["queued"] == {"hello": 1}
    [worker] = plan["workers"]
    assert set(worker) == {"name", "catalog", "current", "behind"}
    assert (worker["current"], worker["behind"]) == (False, None)
    shown = ahead.cli("plan").check(1).stdout
    assert {"+ fresh", "~ hello", '    timeout: "30s" -> "1m"', "- gone"} <= set(shown.splitlines())
    assert "another-password" not in shown + json.dumps(plan)


def test_plan_with_problems_tells_the_rest(fleet: tuple[Project, Running], tmp_path: Path) -> None:
    ahead = beside(fleet[0], JOBS.replace("30s", "30") + "  more: {task: 'clijobs:hello'}\n", tmp_path)
    result = ahead.cli("plan").check(2)
    assert "jobs.hello.timeout: 30 has no unit" in result.stderr
    assert result.stdout == "+ more\n"
    plan = ahead.cli("plan", "--json").check(2).json
    assert (plan["added"], plan["removed"], len(plan["problems"])) == (["more"], [], 1)


def test_plan_without_a_worker(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES)
    result = project.cli("plan").check(1)
    assert "no worker is alive" in result.stderr
    assert {"+ gone", "+ hello", "+ nightly"} <= set(result.stdout.splitlines())


def test_plan_tells_who_is_behind(fleet: tuple[Project, Running], tmp_path: Path) -> None:
    project, _ = fleet
    with beside(project, CHANGED, tmp_path).worker(concurrency=1):
        wait_until(lambda: all(worker["catalog"] for worker in workers(project)), 30.0, "both tell what they run")
        # One of two is not a majority: the last one counts, so the first is behind.
        assert project.cli("plan").check(1).stdout.count("behind: ") == 1
        current = {worker["current"] for worker in project.cli("plan", "--json").check(1).json["workers"]}
        assert current == {True, False}
        assert "catalogs" in project.cli("doctor").check(1).stdout


FLOW = (
    JOBS
    + """\
  flow:
    params: {day: {}}
    steps:
      load: {task: "clijobs:hello", kwargs: {name: "${params.day}"}, env: {PASSWORD: secret-of-a-step}}
      old: {task: "clijobs:hello", env: {PASSWORD: secret-of-a-step}}
"""
)


def test_plan_tells_what_changes_in_a_graph(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project(FLOW, FILES)
    changed = (
        FLOW.replace("${params.day}", "day ${params.day}")
        .replace("old: {", "new: {needs: [load], ")
        .replace("PASSWORD: secret-of-a-step}}\n      new", "PASSWORD: another-secret}}\n      new")
    )
    with project.worker(concurrency=1):
        wait_until(lambda: any(worker["catalog"] for worker in workers(project)), 30.0, "the worker tells what it runs")
        ahead = beside(project, changed, tmp_path)
        shown = ahead.cli("plan").check(1).stdout
        plan = ahead.cli("plan", "--json").check(1).json
    assert (plan["added"], plan["removed"], list(plan["changed"])) == ([], [], ["flow"])
    options = {change["option"]: (change["before"], change["after"]) for change in plan["changed"]["flow"]}
    assert set(options) == {"steps.load.env.PASSWORD", "steps.load.kwargs.name", "steps.new", "steps.old"}
    assert options["steps.load.kwargs.name"] == ("${params.day}", "day ${params.day}")
    assert options["steps.new"][0] is None
    assert options["steps.new"][1]["needs"] == ["load"]
    assert options["steps.old"][1] is None
    assert {"    + step new", "    - step old"} <= set(shown.splitlines())
    assert "secret" not in shown + json.dumps(plan)
