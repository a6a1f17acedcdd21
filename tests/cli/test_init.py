"""``runner init``: a project that is sound, and nothing overwritten."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.cli.folder import cli
from tests.support.project import clean_environment, runner_cli


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
