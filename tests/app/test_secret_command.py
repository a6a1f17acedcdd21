"""Secrets from commands: what a command can do, how its failure is reported, and that it ends."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.app.secret_command import CommandFailed, read_from_command
from runner.app.secret_sources import MissingSecret, complaints, look_up_secrets
from runner.model.job import JobSpec
from runner.process.supervisor import group_alive
from tests.support.deadline import wait_until
from tests.support.project import write_project
from tests.support.servers import Server
from tests.support.work import Work

SECRET = "s3cr3t-of-a-vault"


def sh(script: str) -> str:
    return f"sh -c {shlex.quote(script)}"


def read(command: str, folder: Path, seconds: float = 30.0) -> str:
    return read_from_command(command, folder, {**os.environ, "GIVEN": "given"}, seconds)


def test_the_output_of_a_command_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "own.sh").write_text('#!/bin/sh\nprintf \'%s\\n\' "$GIVEN" "$@"\n')
    (tmp_path / "own.sh").chmod(0o755)
    assert read("echo 'a  b' \"c\" $HOME | x", tmp_path) == "a  b c $HOME | x"
    assert read("./own.sh 'one two' three", tmp_path) == "given\none two\nthree"
    assert read("pwd", tmp_path) == str(tmp_path)
    assert read(sh("cat; echo eof"), tmp_path) == "eof"
    assert len(read(sh("head -c 65536 /dev/zero | tr '\\0' x"), tmp_path)) == 65536


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("no-such-command x", "the command no-such-command is not found"),
        ("./no-such-command", "the command ./no-such-command is not found"),
        ("''", "the command  "),
        (sh("echo no >&2; exit 3"), "the command sh ended with exit code 3; its standard error ends with: no"),
        (sh("kill -9 $$"), "the command sh ended with signal 9"),
        ("true", "the command true wrote nothing to standard output"),
        (sh("printf 'a\\0b'"), "the command sh wrote NUL"),
        (sh("yes"), "the command sh writes more than 64 KiB"),
        (sh("head -c 65537 /dev/zero | tr '\\0' x"), "the command sh writes more than 64 KiB"),
        (sh("exec sleep 300"), "the command sh took longer than 0.5 s"),
    ],
)
def test_a_command_that_gives_no_secret(tmp_path: Path, command: str, told: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        read(command, tmp_path, 0.5 if "sleep" in command else 30.0)
    assert str(caught.value).startswith(told)


def test_only_the_end_of_standard_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        read(sh("yes x | head -c 3000000 >&2; echo last words >&2; exit 1"), tmp_path)
    assert "last words" in str(caught.value)
    assert len(str(caught.value)) < 2200


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    assert read(sh("sleep 300 & echo $$"), tmp_path).isdigit()
    pgid = int(read(sh("sleep 300 & echo $$"), tmp_path))
    wait_until(lambda: not group_alive(pgid), 10.0, "the end of the group")


def test_a_daemon_that_keeps_the_streams_open_is_not_waited_for(tmp_path: Path) -> None:
    before = time.monotonic()
    pid = int(read(sh("setsid sleep 300 & echo $!"), tmp_path))
    assert time.monotonic() - before < 200
    os.kill(pid, 9)


def test_secrets_in_standard_error_are_masked(tmp_path: Path) -> None:
    declared = JobSpec(
        name="a",
        task="a:b",
        secrets={
            "FINE": "env:FINE",
            "BAD": "exec:" + sh(f"echo {SECRET}; echo leaks {SECRET} and $FINE >&2; exit 1"),
            "GONE": "env:GONE",
        },
    )
    with pytest.raises(MissingSecret) as caught:
        look_up_secrets(declared, tmp_path, {**os.environ, "FINE": "another-secret"})
    assert "leaks *** and ***; GONE: the variable GONE is not set" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_nothing_is_started_to_check_a_job(tmp_path: Path) -> None:
    touch = f"exec:touch {tmp_path / 'started'}"
    declared = JobSpec(name="a", task="a:b", secrets={"A": touch, "B": "exec:no-such-command x"})
    [complaint] = complaints(declared, tmp_path, os.environ)
    assert (
        complaint == "its runs end in FAILURE/missing_secret: B: the command no-such-command is not found on this host"
    )
    assert not (tmp_path / "started").exists()


MODULE = f"""
import os
def shows():
    print("printed", os.environ["VAULT"])
    assert os.environ["VAULT"] == "{SECRET[:6]}" + "{SECRET[6:]}"
    return os.environ["VAULT"]
"""
JOBS: dict[str, Any] = {
    "shows": {"task": "work:shows", "secrets": {"VAULT": "exec:cat vault"}},
    "apart": {"task": "work:shows", "secrets": {"VAULT": "exec:cat vault"}, "isolation": "process"},
    "fails": {
        "task": "work:shows",
        "secrets": {"VAULT": "exec:" + sh("cat vault; cat vault >&2; echo $OF_THE_WORKER >&2; exit 7")},
        "retry": {"max_retries": 2},
    },
    "other": {"task": "work:shows", "secrets": {"HELD": "env:OF_THE_WORKER"}},
    "slow": {
        "task": "work:shows",
        "secrets": {"VAULT": "exec:" + sh("echo $$ > started; sleep 300 & wait")},
        "timeout": "2s",
    },
    "not-found": {"task": "work:shows", "secrets": {"VAULT": "exec:no-such-command"}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Work]:
    folder = tmp_path_factory.mktemp("commands")
    project = write_project(folder / "p", redis_server.url, JOBS, {"work.py": MODULE, "vault": SECRET + "\n"})
    with project.worker(concurrency=2, env={"OF_THE_WORKER": "held-by-the-worker"}) as worker:
        worker.wait_for("job not-found: .*the command no-such-command is not found on this host")
        yield Work(project)
        assert SECRET not in worker.stderr + worker.stdout


@pytest.mark.parametrize("job", ["shows", "apart"])
def test_a_run_has_the_secret_and_shows_it_nowhere(place: Work, job: str) -> None:
    ended = place.run(job)
    assert (ended.state, ended.result) == ("SUCCESS", "***")
    assert "printed ***" in place.project.cli("logs", ended.id).check().stdout


def test_a_failing_command_ends_the_run_before_the_job_starts(place: Work) -> None:
    ended = place.run("fails")
    assert (ended.state, ended.reason, ended.retries) == ("FAILURE", "missing_secret", 0)
    assert ended.error is not None
    message = "VAULT: the command sh ended with exit code 7; its standard error ends with: ***\n***"
    assert ended.error["message"] == message


def test_a_timeout_of_the_run_ends_the_command_too(place: Work) -> None:
    ended = place.run("slow")
    assert (ended.state, ended.reason) == ("FAILURE", "timeout")
    pgid = int((place.project.path / "started").read_text())
    wait_until(lambda: not group_alive(pgid), 30.0, "the end of the command")


def test_the_doctor_says_what_is_not_found_and_validate_does_not(place: Work) -> None:
    assert place.project.cli("validate").exit_code == 0
    examined = place.project.cli("doctor")
    assert examined.exit_code == 1
    assert "job not-found: VAULT: the command no-such-command is not found on this host" in examined.stdout
