"""Every exit code, seen from a program, and as cron would call: no environment, another folder, --project absolute."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.jobs import FILES, JOBS
from tests.support.deadline import wait_until
from tests.support.project import Project, Result, clean_environment, runner_cli
from tests.support.servers import free_port


def called(project: Project, words: str, *, bare: bool = False) -> Result:
    """Run ``runner WORDS`` in another folder; ``bare`` as cron does, by /bin/sh and with no environment."""
    if not bare:
        return runner_cli(*shlex.split(words), cwd=Path("/"), project=project.path)
    command = f"{shlex.quote(sys.executable)} -m runner --project {shlex.quote(str(project.path))} {words}"
    done = subprocess.run(
        ["env", "-i", "/bin/sh", "-c", command],
        cwd="/",
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return Result((words,), done.returncode, done.stdout, done.stderr)


CASES = [
    (0, "submit hello --wait"),
    (1, "submit fails --wait"),
    (2, "submit hello --wait -p nmae=x"),
    (2, "submit helo --wait"),
    (2, "submit hello --wiat"),
    (3, "submit unserved --wait --expires 200ms"),
    (4, "status 00000000-0000-0000-0000-000000000000"),
    (4, "wait 00000000-0000-0000-0000-000000000000"),
    (5, "submit disabled --wait"),
    (124, "submit unserved --wait --timeout 300ms"),
]


@pytest.mark.parametrize("bare", [False, True], ids=["program", "cron"])
@pytest.mark.parametrize(("code", "words"), CASES, ids=[f"{code} {words}" for code, words in CASES])
def test_exit_code(served: Project, code: int, words: str, bare: bool) -> None:
    done = called(served, words, bare=bare)
    assert done.exit_code == code, done.stderr
    # A failed job's traceback is data and stands behind a bar; one of the runner's own would not.
    assert not re.search("^Traceback", done.stderr, re.MULTILINE)
    if code in (2, 4, 5):
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "words", ["runs --since {}", "runs --until {}", "audit --since {}", "upcoming --from {}", "upcoming --to {}"]
)
def test_a_time_beyond_the_calendar_is_wrong_usage(served: Project, words: str) -> None:
    for moment in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"):
        done = called(served, words.format(moment))
        assert done.exit_code == 2, done.stderr
        assert "is not within the years" in done.stderr


@pytest.mark.parametrize("bare", [False, True], ids=["program", "cron"])
def test_69_names_the_id_when_redis_cannot_be_reached(make_project: Callable[..., Project], bare: bool) -> None:
    project = make_project(JOBS, FILES, settings={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    done = called(project, "submit hello --wait", bare=bare)
    assert done.exit_code == 69
    assert done.stdout == ""
    assert re.search(r"runner status [0-9a-f-]{36} --project " + re.escape(str(project.path)), done.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("quiet", [[], ["--quiet"]], ids=["", "quiet"])
def test_interrupted_run_goes_on(project: Project, number: int, code: int, quiet: list[str]) -> None:
    with project.start("submit", "unserved", "--wait", *quiet) as waiting:
        run_id = wait_until(lambda: _watched(project), what="the command waits")
        waiting.signal(number)
        assert waiting.wait() == code
    assert f"runner wait {run_id} --project {project.path}" in waiting.stderr
    assert project.document(run_id)["state"] == "PENDING"


def _watched(project: Project) -> str:
    """Return the id of the run that a command waits for, or nothing."""
    client = project.redis()
    try:
        channels = client.pubsub_channels(f"{project.namespace}:changed:*")
        return str(channels[0]).rpartition(":")[2] if channels else ""
    finally:
        client.close()


def test_70_keeps_the_traceback_in_a_log(project: Project) -> None:
    run_id = project.submit("unserved")
    # Python imports it first: a bug that no record of Redis can cause.
    bug = "from runner.ledger.ledger import Ledger\n\ndef read(*_):\n    raise KeyError('bug')\n\nLedger.read = read\n"
    project.write({"bug/sitecustomize.py": bug})
    done = project.cli("status", run_id, env={"PYTHONPATH": str(project.path / "bug")}).check(70)
    assert "Traceback" not in done.stderr
    named = re.search(r"the traceback is in (\S+)", done.stderr)
    assert named is not None
    log = Path(named[1])
    assert log.is_relative_to(project.path / ".runner" / "log")
    assert "Traceback (most recent call last):" in log.read_text()


def test_cold_embedded_server_from_cron(make_embedded_project: Callable[..., Project]) -> None:
    project = make_embedded_project(JOBS, FILES)
    done = called(project, "submit hello", bare=True)
    assert done.exit_code == 0, done.stderr
    assert re.fullmatch(r"[0-9a-f-]{36}\n", done.stdout)
    assert called(project, f"status {done.stdout.strip()} --json", bare=True).exit_code == 0


def test_several_ids_give_the_first_code_that_applies(served: Project) -> None:
    failed = served.cli("submit", "fails", "--wait").check(1).id
    good = served.cli("submit", "hello", "--wait").check().id
    unknown = "00000000-0000-0000-0000-000000000000"
    served.cli("wait", good, failed).check(1)
    served.cli("wait", good, failed, unknown).check(4)
    served.cli("wait", good, failed, "short").check(4)
    served.cli("status", good, failed).check(0)
    served.cli("status", good, failed, "--exit-status").check(1)


def test_refused_until_finished(project: Project) -> None:
    run_id = project.submit("unserved")
    project.cli("forget", run_id).check(5)
    project.cli("rerun", run_id).check(5)
    project.cli("status", run_id, "--exit-status").check(5)
    assert f"@unserved is run {run_id}\nerror: run {run_id}" in project.cli("rerun", "@unserved").check(5).stderr
    project.cli("revoke", run_id).check()
    project.cli("status", run_id, "--exit-status").check(3)
    latest = project.cli("rerun", "@unserved").check()
    assert latest.stderr.startswith(f"@unserved is run {run_id}\n")
    assert project.document(latest.id)["rerun_of"] == run_id
    project.cli("revoke", latest.id).check()
    again = project.cli("rerun", run_id, "--json").check().json
    assert again["rerun_of"] == run_id
    assert again["trigger"] == "rerun"
    note = project.cli("revoke", run_id).check().stderr
    assert "nothing changed" in note
    project.cli("forget", run_id).check()
    project.cli("status", run_id).check(4)


def test_no_project_is_2(tmp_path: Path) -> None:
    from tests.support.project import runner_cli

    done = runner_cli("runs", cwd=tmp_path, env={"HOME": str(tmp_path)}).check(2)
    assert "runner init" in done.stderr
