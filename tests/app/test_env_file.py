"""Files of variables: what they may say, and that a run finds what they say at its start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.app.env_file import Malformed, read_env_file
from runner.app.secret_sources import MissingSecret
from runner.host.trust import NAMED, Trust
from runner.model.job import JobSpec
from tests.support.project import write_project
from tests.support.servers import Server
from tests.support.work import Work

JOB = JobSpec(name="a", task="a:b", env_file="deploy/.env")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "deploy"
    folder.mkdir()
    return folder / ".env"


def test_the_dotenv_format(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_WORKER", "w")
    file.write_bytes(
        b"\xef\xbb\xbf# a comment\nA=1 # no value\nexport B = 'x # y'\n\n"
        b'C="two\nlines"\nD=\nE="${A}/${OF_THE_WORKER}/${NONE:-none}"\nF=\'${A}\'\r\n'
    )
    found = read_env_file(JOB, tmp_path, NAMED)
    assert found == {"A": "1", "B": "x # y", "C": "two\nlines", "D": "", "E": "1/w/none", "F": "1"}
    assert read_env_file(JobSpec(name="a", task="a:b"), tmp_path, NAMED) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"A=1\n\nhunter2 hunter2\n", "line 3 is not NAME=value"),
        (b"A=1\nHUNTER\n", "line 2: HUNTER has no value, write HUNTER="),
        (b"\n\n1A=hunter2\n", "line 3: a name of a variable has letters"),
        (b'A="hunter2\n', "line 1 is not NAME=value"),
        (b"A=1\nB=hunter2\0\n", "line 2: the value of B holds NUL"),
        (b"A=1\nB=\xff\n", "line 2 is not UTF-8"),
        (b"A=" + b"x" * 300_000, "has more than 256 KiB"),
        (b"- -\n" * 9, "line 5 is not NAME=value; and 4 more"),
    ],
)
def test_a_malformed_file_is_told_by_line_and_without_values(
    file: Path, tmp_path: Path, text: bytes, told: str
) -> None:
    file.write_bytes(text)
    with pytest.raises(Malformed) as caught:
        read_env_file(JOB, tmp_path, NAMED)
    assert str(caught.value).startswith(f"env_file: {file}: ")
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_none(file: Path, tmp_path: Path) -> None:
    def told() -> str:
        with pytest.raises(MissingSecret) as caught:
            read_env_file(JOB, tmp_path, NAMED)
        assert not isinstance(caught.value, Malformed)
        return str(caught.value)

    assert told() == f"env_file: {file} cannot be read: No such file or directory"
    os.mkfifo(file)
    assert told() == f"env_file: {file} is not a regular file"
    file.unlink()
    file.mkdir()
    assert "env_file" in told()


def test_whoever_could_write_the_file_could_choose_what_runs(file: Path, tmp_path: Path) -> None:
    file.write_text("LD_PRELOAD=/tmp/mine.so\n")
    file.chmod(0o666)
    with pytest.raises(MissingSecret, match="anybody may write to this file, run: chmod o-w"):
        read_env_file(JOB, tmp_path, NAMED)
    assert read_env_file(JOB, tmp_path, Trust(folders=(str(tmp_path),)))
    file.chmod(0o600)
    file.parent.chmod(0o777)
    with pytest.raises(MissingSecret, match="anybody may write to its folder"):
        read_env_file(JOB, tmp_path, NAMED)
    file.parent.chmod(0o700)
    assert read_env_file(JOB, tmp_path, NAMED)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_stranger_s_file_in_a_project_that_was_found(file: Path, tmp_path: Path) -> None:
    file.write_text("A=1\n")
    os.chown(file, 4242, -1)
    with pytest.raises(MissingSecret, match="belongs to uid 4242"):
        read_env_file(JOB, tmp_path, Trust(found=True))
    assert read_env_file(JOB, tmp_path, NAMED) == {"A": "1"}


MODULE = """
import os

def shows(**given):
    return {**given, **{name: os.environ.get(name) for name in ("A", "B", "C")}}
"""
TASK = "work:shows"
JOBS: dict[str, Any] = {
    "file": {"task": TASK, "env_file": "job.env", "kwargs": {"text": "a ${env.A}"}},
    "over": {"task": TASK, "env_file": "job.env", "env": {"B": "env"}, "secrets": {"C": "file:c"}},
    "apart": {"task": TASK, "env_file": "job.env", "isolation": "process"},
    "none": {"task": TASK},
    "gone": {"task": TASK, "env_file": "gone.env", "retry": {"max_retries": 3}},
}
FILE = "A=1\nB=2\nC=3\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Work]:
    folder = tmp_path_factory.mktemp("variables")
    files = {"work.py": MODULE, "job.env": FILE, "c": "of-the-secret"}
    project = write_project(folder / "p", redis_server.url, JOBS, files)
    with project.worker(concurrency=1, env={"B": "of the worker"}) as worker:
        worker.wait_for("job gone: its runs end in FAILURE/missing_secret: env_file: .*gone.env cannot be read")
        yield Work(project)


def test_a_run_has_the_variables_and_the_next_one_has_not(place: Work) -> None:
    assert place.run("file").result == {"text": "a 1", "A": "1", "B": "2", "C": "3"}
    assert place.run("none").result == {"A": None, "B": "of the worker", "C": None}
    assert place.run("apart").result == {"A": "1", "B": "2", "C": "3"}


def test_env_and_secrets_win_over_the_file(place: Work) -> None:
    assert place.run("over").result == {"A": "1", "B": "env", "C": "***"}


def test_the_next_run_finds_what_an_edit_has_changed(place: Work) -> None:
    before = place.run("file")
    place.project.write({"job.env": "A=later\n"})
    after = place.run("file")
    assert (before.result["A"], after.result["A"], after.result["B"]) == ("1", "later", "of the worker")
    assert before.document()["spec_digest"] == after.document()["spec_digest"]
    place.project.write({"job.env": FILE})


def test_a_file_that_is_missing_ends_the_run_before_the_job_starts(place: Work) -> None:
    ended = place.run("gone")
    assert (ended.state, ended.reason, ended.retries) == ("FAILURE", "missing_secret", 0)
    assert ended.error is not None
    assert ended.error["message"].endswith("gone.env cannot be read: No such file or directory")


def test_validate_tells_a_malformed_file_and_the_doctor_a_missing_one_too(place: Work) -> None:
    place.project.write({"job.env": "A=1\nhunter2 hunter2\n"})
    validated = place.project.cli("validate")
    assert validated.exit_code == 0
    assert "warning: jobs.apart.env_file: " in validated.stdout + validated.stderr
    assert "line 2 is not NAME=value" in validated.stdout + validated.stderr
    assert "gone.env" not in validated.stdout + validated.stderr
    examined = place.project.cli("doctor")
    place.project.write({"job.env": FILE})
    assert examined.exit_code == 1
    assert "job apart: env_file: " in examined.stdout
    assert "gone.env cannot be read" in place.project.cli("doctor").stdout
    assert "hunter2" not in validated.stdout + validated.stderr + examined.stdout
