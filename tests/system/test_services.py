"""``runner up --systemd`` with a real systemd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.actions.services import wanted_units
from tests.support.deadline import wait_until
from tests.support.project import Project, Result
from tests.support.user_manager import user_manager

__all__ = ["user_manager"]

JOBS = {"hello": {"task": "os:getcwd"}, "often": {"task": "os:getcwd", "schedule": {"every": "1s"}}}


def verify(project: Project, program: str) -> None:
    """Have systemd check the units, those of the host and those of a user."""
    from runner.actions.project import Project as Opened

    for user in (True, False):
        folder = project.path / f"units-{user}"
        folder.mkdir()
        units = wanted_units(Opened.open(project.path), user=user)
        assert all(("User=" in text) is not user for text in units.values())
        for name, text in units.items():
            (folder / name).write_text(text)
        files = [str(folder / name) for name in units]
        done = subprocess.run([program, "verify", "--man=no", *files], capture_output=True, text=True, check=False)
        assert [line for line in done.stderr.splitlines() if any(name in line for name in units)] == []
        assert done.returncode == 0, done.stderr


@pytest.mark.timeout(240)
def test_worker_and_scheduler_are_services(
    make_embedded_project: Callable[..., Project], user_manager: dict[str, str] | None, needed: Callable[[str], str]
) -> None:
    project = make_embedded_project(JOBS, name="a project %h $x")
    verify(project, needed("systemd-analyze"))
    if user_manager is None:
        return  # systemd cannot run here, so that its own check of the units is all there is

    def up(*words: str) -> Result:
        return project.cli("up", "--systemd", *words, "--user", env=user_manager)

    def pids() -> list[int]:
        rows = up("status").stdout.splitlines()[1:]
        return [int(found[1]) for row in rows if (found := re.search(r"active \(running\) +enabled +(\d+)", row))]

    folder = Path(user_manager["XDG_CONFIG_HOME"]) / "systemd" / "user"
    assert up("status").check(1).stdout.count("not installed") == 4
    try:
        message = up("enable").check().stderr
        units = sorted(folder.glob("*.service"))
        assert len(units) == 2
        assert all(f"wrote {unit}" in message for unit in units)
        assert "loginctl enable-linger" in message
        up("status").check(0)
        worker, scheduler = pids()
        assert project.cli("submit", "hello", "--wait").check().id
        runs = wait_until(lambda: project.cli("runs", "--job", "often", "--state", "success", "--ids").check().stdout)
        assert runs, "the scheduler submits, and the worker performs"
        # Nothing is touched that is as it should be.
        assert "wrote" not in up("enable").check().stderr
        assert pids() == [worker, scheduler]
        # systemd starts again what dies.
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(found := pids()) == 2 and worker not in found, 60.0, "a new worker")
        assert project.cli("submit", "hello", "--wait", timeout=90.0).check().id
        # A unit that somebody has changed is reported and repaired.
        units[1].write_text(units[1].read_text() + "# changed\n")
        assert "differs from what it should be" in up("status").check(1).stdout
        assert f"wrote {units[1]}" in up("enable").check().stderr
        up("status").check(0)
        left = pids()
    finally:
        removed = up("remove")
    assert removed.check().stderr.startswith("removed ")
    assert list(folder.glob("**/*.service")) == []
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), 30.0, "the services have ended")
    assert "there was nothing to remove" in up("remove").check().stderr
    up("status").check(1)
