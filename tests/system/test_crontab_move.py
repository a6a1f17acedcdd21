"""The move in ``examples/crontab-move``, from a crontab to jobs that run: under Debian's cron, and under systemd."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.embedded import stop
from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.processes import processes
from tests.support.project import Project, Result, runner_cli
from tests.support.running import Running
from tests.support.user_manager import user_manager
from tests.system.test_cron import PRIVATE

__all__ = ["user_manager"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "crontab-move"
SHOP = "/srv/shop"
PATIENCE = 200.0
"""Seconds for a full minute, and what is before and after it."""


class Move:
    """A shop in a folder of the test, and the project that its crontab becomes."""

    def __init__(self, folder: Path) -> None:
        self.shop = folder / "shop"
        shutil.copytree(EXAMPLE / "scripts", self.shop / "scripts")
        # Nothing leaves this host.
        curl = self.shop / "bin" / "curl"
        curl.parent.mkdir()
        curl.write_text("#!/bin/sh\necho alive\n")
        curl.chmod(0o755)
        self.first = f"{curl.parent}:"
        self.old = (
            (EXAMPLE / "crontab").read_text().replace(SHOP, str(self.shop)).replace("PATH=", f"PATH={self.first}")
        )
        self.project = Project(folder / "jobs", "runner", "embedded")

    def init(self) -> Result:
        words = ("init", str(self.project.path), "--from-crontab", "-")
        return runner_cli(*words, cwd=Path("/"), env={"TZ": "UTC"}, input=self.old).check()

    def is_tick(self, command: str) -> bool:
        return str(self.project.path) in command and command.endswith(" tick")

    def orders(self) -> list[str]:
        return self.project.cli("runs", "--job", "orders", "--state", "success", "--ids").check().stdout.split()


@pytest.fixture
def move(tmp_path: Path) -> Iterator[Move]:
    found = Move(tmp_path)
    yield found
    if found.project.path.exists():
        # A tick that cron has started goes on after cron, and would start the server again.
        wait_until(
            lambda: not any(found.is_tick(process.command) for process in processes()), 60.0, "the last tick has ended"
        )
        found.project.cli("down")
        stop(found.project.settings)


def without_schema(text: str) -> str:
    """Return a file without its first line, which says where editors find the schema from there."""
    return text.partition("\n")[2]


def test_the_example_is_what_init_makes_of_its_crontab(move: Move) -> None:
    report = move.init().stderr
    made = (move.project.path / "jobs.d" / "crontab.yaml").read_text()
    made = made.replace(move.first, "").replace(str(move.shop), SHOP)
    assert without_schema(made) == without_schema((EXAMPLE / "jobs.d" / "crontab.yaml").read_text())
    assert "4 jobs: dump, orders, remove-old-exports, tell-watchdog-host-alive\n" in report
    for line in ("MAILTO=ops@shop.example", "leave out >> dump.log 2>&1", "@reboot scripts/warm-cache.sh"):
        assert line in report
    # It ends with what is missing, and with commands that bring it.
    assert f"runner cron install --project {move.project.path}" in report
    assert "still missing: a worker that takes from default" in report
    assert f"runner up -d --project {move.project.path}" in report
    move.project.cli("validate").check()
    Project(EXAMPLE, "runner", "embedded").cli("validate", "--project", EXAMPLE).check()


@pytest.mark.cron
@pytest.mark.clock
@pytest.mark.timeout(400)
def test_the_move_ends_with_jobs_that_run_under_cron(move: Move, tmp_path: Path) -> None:
    cron = need("cron")
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("cron runs jobs for root alone")
    move.init()
    # The old lines are comments now.
    mine = tmp_path / "mine"
    mine.write_text(re.sub(r"^(?=[\d*@])", "# ", move.old, flags=re.MULTILINE))
    runner = shlex.join([sys.executable, "-m", "runner", "--project", str(move.project.path), "cron"])
    listed, report = tmp_path / "listed", tmp_path / "said"
    setup = [
        f"crontab {mine}",
        f"{runner} install --worker 2> {report}",
        f"{runner} check",
        f"crontab -l > {listed}",
    ]
    script = PRIVATE.format(setup="\n".join(setup), cron=cron)
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    words = [unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", script]
    with Running(words, cwd=Path("/"), grace=5.0):
        # Nobody starts a worker: the line that cron runs as the host starts does.
        wait_until(lambda: move.project.cli("workers", "--json").check().json, 60.0, "the worker of @reboot")
        runs = wait_until(move.orders, PATIENCE, "orders has run")
        run = move.project.document(runs[0])
        assert run["trigger"] == "schedule"
        assert run["result"]["output"] == "0 orders in 1 min\n"
        assert move.project.cli("up", "-d").check().stderr.startswith("up already")
        text = move.project.cli("status").check().stdout
        assert re.search(r"^failing +none$", text, re.MULTILINE)
        assert re.search(r"^workers +1 alive", text, re.MULTILINE)
    assert listed.read_text().startswith(mine.read_text())
    assert listed.read_text().count("\n@reboot ") == 1
    assert "still missing: a worker that takes from default" in report.read_text()


@pytest.mark.clock
@pytest.mark.timeout(400)
def test_the_move_ends_with_jobs_that_run_under_systemd(move: Move, user_manager: dict[str, str] | None) -> None:
    move.init()
    if user_manager is None:
        return  # test_services.py has systemd check the units
    environment = {**user_manager, "TZ": "UTC"}
    try:
        move.project.cli("up", "--systemd", "--user", env=environment).check()
        runs = wait_until(move.orders, PATIENCE, "orders has run")
        assert move.project.document(runs[0])["trigger"] == "schedule"
        move.project.cli("up", "--systemd", "status", "--user", env=environment).check(0)
        assert move.project.cli("status", "--json").check().json["failing"]["count"] == 0
    finally:
        move.project.cli("up", "--systemd", "remove", "--user", env=environment).check()
