"""The hook that this repository defines, run by pre-commit itself as a project that uses it would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.project import clean_environment, runner_cli

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SOURCES = ("runner", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".pre-commit-hooks.yaml")


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=A Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")
    subprocess.run([need("git"), *who, *words], cwd=folder, check=True, capture_output=True, timeout=60)


def commit(folder: Path) -> None:
    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "All of it")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with what the hook is installed from."""
    folder = tmp_path_factory.mktemp("repository")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    commit(folder)
    return folder


@pytest.mark.timeout(600)
def test_the_hook_checks_a_project(repository: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    runner_cli("init", cwd=project).check()
    commit(project)
    home = {"PRE_COMMIT_HOME": str(tmp_path / "pre-commit"), "HOME": str(tmp_path)}
    # Inside a hook of git, GIT_DIR and the like name another repository.
    environment = {name: value for name, value in clean_environment(home).items() if not name.startswith("GIT_")}

    def run() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "pre_commit", "try-repo", str(repository), "runner-validate", "--all-files"]
        return subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, timeout=500)

    sound = run()
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "Passed" in sound.stdout
    (project / "jobs.d" / "broken.yaml").write_text("jobs:\n  x:\n    task: a:b\n    timeuot: 3s\n", "utf-8")
    git(project, "add", "-A")
    broken = run()
    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert "jobs.d/broken.yaml:4:5: jobs.x.timeuot: unknown option, did you mean timeout?" in broken.stdout
    assert "- exit code: 2" in broken.stdout
