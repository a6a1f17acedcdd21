"""``runner jobs``: what is declared."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.support.project import Project


def test_jobs(project: Project) -> None:
    text = project.cli("jobs").check().stdout
    assert re.search(r"^disabled +default +no", text, re.MULTILINE)
    document = project.cli("jobs", "hello", "--json").check().json
    assert document["name"] == "hello"
    assert document["params"]["name"] == {"type": "string", "default": "world"}
    assert project.cli("jobs", "hello").check().stdout.startswith("# jobs.d/jobs.yaml, line 2\nhello:\n")


def test_schedule_last_outcome_and_next_start(make_project: Callable[..., Project]) -> None:
    every = {"schedule": [{"every": "15m"}, "@daily"]}
    jobs = {
        "good": {"task": "os:getcwd", **every},
        "bad": {"task": "os:nothing", "schedule": "0 2 * * *"},
        "off": {"task": "os:getcwd", "schedule": "0 2 * * *", "enabled": False},
        "new": {"task": "os:getcwd"},
    }
    project = make_project(jobs)
    with project.worker():
        good = project.submit("good", "--wait")
        project.cli("submit", "bad", "--wait").check(1)
    found = {job["name"]: job for job in project.cli("jobs", "--json").check().json}
    document = project.document(good)
    last = {"id": good, "state": "SUCCESS", "reason": None, "finished_at": document["finished_at"]}
    assert found["good"]["last"] == last
    assert found["bad"]["last"]["reason"] == "import_error"
    assert (found["new"]["last"], found["new"]["next"]) == (None, None)
    assert found["off"]["next"] is None
    slots = {slot["job"]: slot["slot"] for slot in project.cli("upcoming", "--json").check().json}
    assert {name: found[name]["next"] for name in slots}.keys() == {"good", "bad"}
    assert found["bad"]["next"] == slots["bad"]
    text = project.cli("jobs").check().stdout
    assert re.search(r"^good +every 15m, @daily +SUCCESS \S+ s ago +20\d\d-", text, re.MULTILINE)
    assert re.search(r"^bad +0 2 \* \* \* +FAILURE \(import_error\) ", text, re.MULTILINE)
    one = project.cli("jobs", "good").check()
    assert f"last run: SUCCESS {one.stderr.partition('SUCCESS ')[2]}" in one.stderr
    assert good in one.stderr
    # Declared jobs are listed without Redis, too.
    away = project.cli("jobs", "--json", env={"RUNNER_REDIS_URL": "redis://127.0.0.1:1/0"}).check()
    assert re.search("^warning: last runs and pauses are unknown: Redis at redis://127.0.0.1:1/0", away.stderr, re.M)
    assert {job["last"] for job in away.json} == {None}
    assert [job["next"] for job in away.json if job["name"] == "bad"] == [slots["bad"]]


def test_a_job_with_steps(make_project: Callable[..., Project]) -> None:
    steps = {"load": {"task": "os:getcwd"}, "ask": {"needs": ["load"], "approval": {}}}
    project = make_project({"flow": {"queue": "etl", "steps": steps}})
    document = project.cli("jobs", "flow", "--json").check().json
    assert document["task"] is None
    assert document["steps"] == {"load": {"task": "os:getcwd", "queue": "etl"}, "ask": steps["ask"]}
    text = project.cli("jobs", "flow").check().stdout
    assert "flow:\n  steps:\n    load:\n      task: os:getcwd\n" in text
    assert [job["name"] for job in project.cli("jobs", "--json").check().json] == ["flow"]
    refused = project.cli("submit", "flow/load").check(2)
    assert refused.stderr.startswith("error: flow/load is a step, which runs within its flow alone\nhint: run: runner ")
    assert refused.stderr.endswith(" submit flow\n")
    assert "is an approval, not a task" in project.cli("submit", "flow/ask").check(2).stderr
    assert "Did you mean flow/load?" in project.cli("submit", "flow/laod").check(2).stderr
