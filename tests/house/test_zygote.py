"""A forked command is what a new interpreter makes of the same command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.command import CELERY, COMMAND, clean_environment
from tests.support.project import celery_cli, write_project
from tests.support.zygote import ROOMS, Forked, can_fork

JOBS = "jobs:\n  hello: {task: 'm:f', description: Grüße}\n  broken: {tsak: 'm:f'}\n"


@pytest.mark.parametrize(
    "args",
    [
        ["--version"],
        ["jobs"],
        ["jobs", "--json"],
        ["validate"],
        ["validate", "-"],
        ["nope"],
        ["submit", "nope"],
        ["status"],
        ["web", "--new-token", "no name"],
    ],
    ids=" ".join,
)
def test_it_prints_the_same_and_ends_with_the_same_code(tmp_path: Path, args: list[str]) -> None:
    project = write_project(tmp_path / "p", "redis://127.0.0.1:1/0", JOBS)
    text = b"jobs: {a: {task: 'm:f', timeout: 3}}"
    env = clean_environment({"TZ": "Asia/Tokyo"})
    new = subprocess.run([*COMMAND, *args], cwd=project.path, env=env, input=text, capture_output=True, check=False)
    forked = Forked(args, cwd=project.path, env=env, room=args[0] if args[0] in ROOMS else "")
    out, err = forked.communicate(text, 60.0)
    assert (forked.wait(), out, err) == (new.returncode, new.stdout, new.stderr)
    forked.close()


@pytest.mark.parametrize("args", [["--version"], ["call", "nope"], ["inspect", "ping", "-t", "no"]], ids=" ".join)
def test_so_is_celerys_program(tmp_path: Path, args: list[str]) -> None:
    project = write_project(tmp_path / "p", "redis://127.0.0.1:1/0", JOBS)
    new = subprocess.run([*CELERY, *args], cwd=project.path, env=clean_environment(), capture_output=True, text=True)
    forked = celery_cli(*args, cwd=project.path)
    assert (forked.exit_code, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)


def test_it_has_a_session_folder_and_end_of_its_own(tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", "redis://127.0.0.1:1/0", JOBS)
    waiting = Forked(
        ["submit", "hello", "--params", "-"], cwd=project.path, env=clean_environment(), session=True, files=64
    )
    assert os.getsid(waiting.pid) == waiting.pid
    if Path("/proc/self").exists():
        assert Path(f"/proc/{waiting.pid}/cwd").resolve() == project.path.resolve()
        assert re.search(r"^Max open files +64 +64 ", Path(f"/proc/{waiting.pid}/limits").read_text(), re.MULTILINE)
    assert waiting.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.05)
    waiting.kill()
    assert waiting.wait(20.0) == -signal.SIGKILL
    waiting.close()


def test_it_looks_for_time_zones_where_its_environment_says(tmp_path: Path) -> None:
    zone = tmp_path / "zones" / "Test" / "Own"
    zone.parent.mkdir(parents=True)
    zone.write_bytes(files("tzdata.zoneinfo.Europe").joinpath("Berlin").read_bytes())
    project = write_project(tmp_path / "p", "redis://127.0.0.1:1/0", JOBS, settings={"timezone": "Test/Own"})
    env = {"PYTHONTZPATH": str(tmp_path / "zones")}
    assert can_fork(clean_environment(env))
    assert project.cli("jobs", env=env).exit_code == 0
    assert project.cli("jobs").exit_code == 2


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONUTF8", "LC_ALL", "LD_PRELOAD"])
def test_what_an_interpreter_reads_at_its_start_needs_a_new_one(name: str) -> None:
    assert can_fork(clean_environment({"HOME": "/nowhere"}))
    assert not can_fork(clean_environment({name: "x"}))
