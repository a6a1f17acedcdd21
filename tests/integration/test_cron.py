"""Debian's cron calls the runner, every minute, with the environment that cron gives.

The daemon is a private process of this test. It reads every crontab of the machine, so a crontab of a person who
runs the tests would run as well; that is why the test runs as root in CI only, and elsewhere is skipped.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.project import Project
from tests.support.running import Running

JOBS = {
    "good": {"task": "work:good"},
    "bad": {"task": "work:bad"},
}
WORK = "def good():\n    return 'done'\n\ndef bad():\n    raise ValueError('the invoice is missing')\n"

CRON_D = Path("/etc/cron.d")
PATIENCE = 150.0
"""Seconds: cron wakes at the full minute, and needs one to see a new file."""


@pytest.mark.cron
@pytest.mark.timeout(400)
def test_cron_submits_and_a_failure_says_all_there_is_to_know(make_embedded_project: Callable[..., Project]) -> None:
    cron = need("cron")
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("cron runs jobs for root alone")
    project = make_embedded_project(JOBS, {"work.py": WORK})
    command = f"{sys.executable} -m runner --project {project.path} submit"
    out = project.path
    name = f"runner-test-{uuid.uuid4().hex[:12]}"
    table = CRON_D / name
    lines = [
        "SHELL=/bin/sh",
        # cron reads PATH from here alone; HOME it sets itself.
        f"* * * * * {getpass.getuser()} {command} good --wait --quiet >{out}/good.out 2>{out}/good.err",
        f"* * * * * {getpass.getuser()} {command} bad --wait --quiet >{out}/bad.out 2>{out}/bad.err;"
        f" echo $? >{out}/bad.code",
        f"* * * * * {getpass.getuser()} env >{out}/environment",
    ]
    try:
        table.write_text("\n".join(lines) + "\n")
        table.chmod(0o644)
        # The embedded server is cold: one of cron's own commands starts it.
        with _private_cron(cron), project.worker(ready=False) as worker:
            worker.wait_for("runner worker ready", 40.0)
            wait_until((out / "bad.code").exists, PATIENCE, "cron has run the failing job")
            wait_until(lambda: '"SUCCESS"' in project.cli("runs", "--job", "good", "--json").stdout, 60.0, "the run")
    finally:
        table.unlink(missing_ok=True)

    runs = project.cli("runs", "--json").check().json
    assert {run["job"] for run in runs} == {"good", "bad"}
    bad = next(run for run in runs if run["job"] == "bad")
    assert (bad["state"], bad["reason"]) == ("FAILURE", "exception")
    assert (out / "bad.code").read_text().strip() == "1"
    text = (out / "bad.err").read_text()
    named = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", text)
    assert named, text
    assert named.group() in {run["id"] for run in runs if run["job"] == "bad"}
    for part in ("bad", "exception", "the invoice is missing", f"--project {project.path}", "runner status"):
        assert part in text, f"{part!r} is not in:\n{text}"
    assert (out / "good.err").read_text() == ""
    assert (out / "good.out").read_text() == ""
    environment = (out / "environment").read_text()
    assert "PYTHONPATH" not in environment
    assert f"HOME={pwd.getpwuid(os.geteuid()).pw_dir}" in environment


def _private_cron(program: str) -> Running:
    """Run cron in the foreground; one that runs already has its pid file, and does as well."""
    if _cron_runs():
        # A second daemon would refuse to start: the machine's own reads /etc/cron.d too.
        return Running([shutil.which("cat") or "cat", "/dev/null"], cwd=Path("/"))
    return Running([program, "-f"], cwd=Path("/"), grace=5.0)


def _cron_runs() -> bool:
    try:
        pid = int(Path("/var/run/crond.pid").read_text())
        return "cron" in Path(f"/proc/{pid}/comm").read_text()
    except (OSError, ValueError):
        return False
