"""``init``, ``up`` and ``down``: a project that runs at once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.processes import processes
from tests.support.project import COMMAND, Result, clean_environment, runner_cli


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a project that init makes; whatever is up in it is taken down."""
    yield tmp_path / "demo"
    if (tmp_path / "demo" / "runner.yaml").exists():
        runner_cli("down", cwd=tmp_path / "demo").check()


def cli(folder: Path, *words: str, code: int = 0) -> Result:
    return runner_cli(*words, cwd=folder).check(code)


def alive(pid: int) -> bool:
    return any(each.pid == pid for each in processes())


def test_init_up_submit_down(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    assert cli(folder, "validate").stdout == ""
    assert ".runner/" in (folder / ".gitignore").read_text().splitlines()
    up = cli(folder, "up", "-d", "-c", "1")
    pid = int(re.search(r"worker (\d+)", up.stderr)[1])
    assert alive(pid)
    assert os.getsid(pid) == pid
    assert "up already" in cli(folder, "up", "-d").stderr
    done = cli(folder, "submit", "hello", "--wait", "--json", "-p", "name=you")
    assert done.json["result"] == "Hello, you!"
    down = cli(folder, "down")
    assert f"stopping worker {pid}" in down.stderr
    assert "server is stopped" in down.stderr
    assert not alive(pid)
    assert "nothing was up" in cli(folder, "down").stderr
    # What is recorded stays.
    assert cli(folder, "status", done.json["id"], "--json").json["state"] == "SUCCESS"


def test_up_runs_schedules(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    (folder / "jobs.d" / "often.yaml").write_text("jobs:\n  often: {task: 'os:getpid', schedule: {every: 1s}}\n")
    pid = int(re.search(r"worker (\d+)", cli(folder, "up", "-d", "-c", "1").stderr)[1])

    def schedulers() -> list[int]:
        return [each.pid for each in processes() if f"scheduler --project {folder}" in each.command]

    def done() -> bool:
        return any(run["state"] == "SUCCESS" for run in cli(folder, "runs", "--job", "often", "--json").json)

    wait_until(done)
    [first] = schedulers()
    # One that ends is started again.
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: schedulers() not in ([], [first]))
    # One whose parent was killed ends by itself.
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not schedulers())


def test_init_overwrites_nothing(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    shutil.rmtree(folder / "jobs.d")
    again = runner_cli("init", "demo", cwd=folder.parent).check(2)
    assert "runner.yaml" in again.stderr
    assert not (folder / "jobs.d").exists()
    (folder / "jobs.d").mkdir()


def test_init_leaves_nothing_of_a_project_that_could_not_be_written(folder: Path) -> None:
    command = " ".join([sys.executable, "-m", "runner", "init", "demo"])
    # 8 blocks hold the first files, and not the schemas.
    limited = ["/bin/sh", "-c", f"ulimit -f 8; {command}"]
    done = subprocess.run(limited, cwd=folder.parent, env=clean_environment(), stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    runner_cli("init", "demo", cwd=folder.parent).check()


def test_init_takes_the_folder_from_project_too(folder: Path) -> None:
    runner_cli("--project", folder, "init", cwd=folder.parent).check()
    cli(folder, "validate")
    done = runner_cli("init", "demo", "--project", folder, cwd=folder.parent).check(2)
    assert "both name the folder" in done.stderr


def test_init_keeps_a_gitignore(folder: Path) -> None:
    folder.mkdir()
    (folder / ".gitignore").write_text("*.pyc\n")
    cli(folder, "init")
    assert (folder / ".gitignore").read_text() == "*.pyc\n.runner/\n"


def test_files_are_private_enough_whatever_the_umask(folder: Path) -> None:
    command = " ".join([sys.executable, "-m", "runner", "init", "demo"])
    subprocess.run(["/bin/sh", "-c", f"umask 000; {command}"], cwd=folder.parent, env=clean_environment(), check=True)
    cli(folder, "validate")


def test_a_killed_worker_is_not_mistaken_for_one_that_is_up(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    pid = int(re.search(r"worker (\d+)", cli(folder, "up", "-d", "-c", "1").stderr)[1])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    wait_until(lambda: "up: worker" in cli(folder, "up", "-d", "-c", "1").stderr, what="it is up again")


def test_a_worker_that_cannot_start_is_told(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    with (folder / "runner.yaml").open("a") as settings:
        settings.write("setup: no_such_module:setup\n")
    failed = runner_cli("up", "-d", cwd=folder)
    assert failed.exit_code == 70
    assert "no_such_module" in failed.stderr
    assert "nothing was up" not in cli(folder, "down").stderr


def test_up_in_the_foreground(folder: Path) -> None:
    from tests.support.running import Running

    runner_cli("init", "demo", cwd=folder.parent).check()
    with Running([*COMMAND, "up", "-c", "1"], cwd=folder, env=clean_environment()) as up:
        up.wait_for("runner worker ready")
        cli(folder, "submit", "hello", "--wait")
        up.signal(signal.SIGINT)
        assert up.wait() == 0
