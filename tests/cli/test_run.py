"""``runner run``: here and now, and gone with the command."""

from __future__ import annotations

import signal

import pytest

from tests.support.answers import text
from tests.support.deadline import wait_until
from tests.support.processes import processes
from tests.support.project import Project


def workers_of(project: Project) -> list[int]:
    """Return the workers that run for a project."""
    return [
        process.pid for process in processes() if " worker " in process.command and str(project.path) in process.command
    ]


def test_result_is_json_and_what_the_job_prints_goes_to_stderr(project: Project) -> None:
    done = project.cli("run", "speaks").check()
    assert done.stdout == '"spoken"\n'
    assert "to stdout" in done.stderr
    assert "to stderr" in done.stderr
    assert workers_of(project) == []


def test_quiet_success_is_silent_and_a_failure_tells_what_the_job_wrote(project: Project) -> None:
    done = project.cli("run", "speaks", "--quiet").check()
    assert (done.stdout, done.stderr) == ("", "")
    done = project.cli("run", "speaks-and-fails", "--quiet").check(1)
    assert "last words" in done.stderr
    assert "FAILURE" in done.stderr


def test_its_private_queue_is_gone_with_it(project: Project) -> None:
    client = project.redis()

    def names() -> set[str]:
        found = {text(key) for key in client.scan_iter(f"{project.namespace}:*run-*")}
        return found | {text(queue) for queue in client.smembers(f"{project.namespace}:queues")}

    for job, code in (("speaks", 0), ("fails", 1)):
        project.cli("run", job).check(code)
        assert {name for name in names() if "run-" in name and ":run:" not in name} == set()
    client.close()


def test_failure_is_1(project: Project) -> None:
    done = project.cli("run", "fails").check(1)
    assert done.stdout == ""
    assert done.stderr.count("clijobs.py") == 1  # the worker's log has the traceback, so the report does not repeat it
    assert done.stderr.splitlines()[-2].strip() == "error  ValueError: the coffee is out"


def test_json_is_the_document(project: Project) -> None:
    document = project.cli("run", "hello", "-p", "name=you", "--json").check().json
    assert document["state"] == "SUCCESS"
    assert document["queue"].startswith("run-")


def test_timeout_terminates_the_run(project: Project) -> None:
    done = project.cli("run", "sleeps", "--timeout", "4s", "--json").check(124)
    assert done.json["state"] == "REVOKED"
    assert workers_of(project) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_terminates_the_run(project: Project, number: int, code: int) -> None:
    with project.start("run", "sleeps") as running:
        running.wait_for("STARTED")
        running.signal(number)
        assert running.wait() == code
    assert "was terminated" in running.stderr
    run = project.cli("status", "@sleeps", "--json").check().json
    assert (run["state"], run["reason"]) == ("REVOKED", "terminated")
    assert workers_of(project) == []


def test_killed_command_leaves_no_worker(project: Project) -> None:
    with project.start("run", "sleeps") as running:
        running.wait_for("STARTED")
        running.kill()
        wait_until(lambda: workers_of(project) == [], what="its worker ends")
