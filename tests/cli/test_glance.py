"""``runner status`` without an id: the project in 20 lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

SCRIPT = "runner.tasks.shell:run"
JOBS: dict[str, Any] = {
    "breaks": {"task": SCRIPT, "kwargs": {"script": "echo the disk is full; exit 3"}},
    "long": {"task": SCRIPT, "kwargs": {"script": "until [ -e go ]; do sleep 0.05; done"}, "concurrency": {"limit": 1}},
    "nightly": {"task": SCRIPT, "kwargs": {"script": "true"}, "schedule": "0 2 * * *", "queue": "reports"},
    "held": {"task": SCRIPT, "kwargs": {"script": "true"}, "schedule": "0 3 * * *"},
    "off": {"task": SCRIPT, "kwargs": {"script": "exit 1"}},
}


def names(document: dict[str, Any]) -> list[str]:
    return [run["job"] for run in document["failing"]["runs"]]


def test_a_project_in_which_nothing_happens(make_project: Callable[..., Project]) -> None:
    project = make_project({"idle": {"task": "os:getcwd"}})
    lines = project.cli("status").check().stdout.splitlines()
    heads = ["failing", "doctor", "waiting", "running", "workers", "next", "paused"]
    assert [line.split()[0] for line in lines] == heads
    assert [line.split()[1] for line in lines] == ["none", "ok", "none", "none", "none", "nothing", "none"]
    document = project.cli("status", "--json", "--exit-status").check().json
    assert document["healthy"] is True
    assert document["failing"] == {"count": 0, "runs": []}
    assert set(document["states"].values()) == {0}


def test_what_fails_runs_waits_and_comes(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS)
    with project.worker(concurrency=2):
        failed = project.submit("breaks")
        project.wait_for_state(failed, "FAILURE")
        project.cli("submit", "off", "--wait").check(1)
        running, waiting = project.submit("long"), project.submit("long")
        project.wait_for_state(running, "STARTED")
        unserved = project.submit("nightly")
        project.cli("pause", "held").check()

        def settled() -> dict[str, Any] | None:
            document: dict[str, Any] = project.cli("status", "--json").check().json
            why = {job["job"]: job["why"] for job in document["waiting"]["jobs"]}
            return document if "concurrency slot" in why.get("long", "") else None

        document = wait_until(settled, 30.0, "the second run of long waits for its slot")
        assert set(names(document)) == {"breaks", "off"}
        assert document["failing"]["runs"][-1]["id"] == failed
        assert document["healthy"] is False
        assert [run["id"] for run in document["running"]["runs"]] == [running]
        assert document["waiting"]["count"] == 2
        by_job = {job["job"]: job for job in document["waiting"]["jobs"]}
        assert by_job["long"]["oldest"] == waiting
        assert by_job["nightly"]["oldest"] == unserved
        assert by_job["nightly"]["why"] == "no live worker takes runs from queue reports"
        marks = {slot["job"]: (slot["paused"], slot["served"]) for slot in document["next"]}
        assert marks == {"nightly": (False, False), "held": (True, True)}
        assert len(document["workers"]) == 1
        assert [pause["job"] for pause in document["pauses"]] == ["held"]
        assert "served" in {problem["name"] for problem in document["problems"]}
        assert "pauses" not in {problem["name"] for problem in document["problems"]}
        text = project.cli("status", "--utc").check().stdout
        assert "1 alive, 2 processes:" in text
        assert len(text.splitlines()) <= 20
        for phrase in ("FAILURE (exception)", "the disk is full", "1 run", "NO WORKER", "PAUSED"):
            assert phrase in text, phrase
        project.cli("status", "--exit-status").check(1)
        (project.path / "go").touch()
        project.wait_for_state(waiting, "SUCCESS")


def test_twenty_lines_however_much_there_is_to_tell(make_project: Callable[..., Project]) -> None:
    broken = {f"breaks-{number:02}": {"task": SCRIPT, "kwargs": {"script": "exit 3"}} for number in range(30)}
    waits = {
        f"waits-{number:02}": {"task": SCRIPT, "kwargs": {"script": "true"}, "queue": "far"} for number in range(9)
    }
    slots = {f"slot-{number:02}": {"task": "os:getcwd", "schedule": "@daily", "queue": "far"} for number in range(9)}
    project = make_project({**broken, **waits, **slots})
    for job in waits:
        project.submit(job)
        project.cli("pause", job).check()
    ids = [project.submit(job) for job in broken]
    with project.worker(concurrency=2):
        for run_id in ids:
            project.wait_for_state(run_id, "FAILURE")
        text = project.cli("status").check().stdout
    lines = text.splitlines()
    assert len(lines) == 20
    assert lines[0] == "failing  30 jobs"
    assert f" more: runner --project {project.path} runs --state failure" in text
    assert "waiting  9 runs" in text
    document = project.cli("status", "--json").check().json
    assert document["failing"]["count"] == 30
    assert len(document["failing"]["runs"]) == 20
    assert len(document["waiting"]["jobs"]) == 5


def test_runs_of_jobs_that_are_declared_elsewhere_are_counted(
    make_project: Callable[..., Project], tmp_path: Any, redis_server: Server
) -> None:
    project = make_project({"mine": {"task": "os:getcwd"}})
    other = {"theirs": {"task": "os:getcwd"}}
    beside = write_project(tmp_path / "beside", redis_server.url, other, {}, None, project.namespace)
    beside.submit("theirs")
    document = project.cli("status", "--json").check().json
    assert document["waiting"] == {"count": 1, "jobs": [], "undeclared": 1}
    assert "1 run of jobs that this project does not declare" in project.cli("status").check().stdout


def test_without_redis_it_says_so(tmp_path: Any) -> None:
    project = write_project(tmp_path / "p", "redis://127.0.0.1:1/0", {"a": {"task": "os:getcwd"}})
    done = project.cli("status").check(69)
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_no_server_is_asked_of_each_run(make_project: Callable[..., Project]) -> None:
    """The doctor's part of it leaves out what looks at each run or each key."""
    project = make_project({"idle": {"task": "os:getcwd"}})
    client = project.redis()
    try:
        client.config_resetstat()
        project.cli("status").check()
        stats: dict[str, Any] = client.info("commandstats")
    finally:
        client.close()
    assert not {"cmdstat_scan", "cmdstat_zscan", "cmdstat_hscan", "cmdstat_keys"} & stats.keys()
