"""Debian's cron calls the runner, every minute, with the environment that cron gives.

The daemons are private processes of this test: each has mounts of its own over all that cron reads, so that neither
the machine's crontabs run nor are they changed. That needs root; elsewhere the test is skipped, never in CI. Whatever
waits for the clock is in one test, so that it waits once.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runner.embedded import stop
from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.project import Project
from tests.support.running import Running

EVERY_MINUTE = {"task": "work:mark", "schedule": {"cron": "* * * * *", "catchup": "none"}}
FIRST = {
    "good": {"task": "work:good"},
    "bad": {"task": "work:bad"},
    "ticks": EVERY_MINUTE,
}
SECOND = {"ticks": EVERY_MINUTE}
WORK = """\
import pathlib
from runner import current_run

def good():
    return "done"

def bad():
    raise ValueError("the invoice is missing")

def mark():
    with pathlib.Path("marks").open("a") as marks:
        marks.write(f"{current_run().id}\\n")
"""

OTHERS = "# somebody's own lines\nMAILTO=\"\"\n0 4 1 1 * echo '100\\%'\n"
PATIENCE = 200.0
"""Seconds for two full minutes and what is before and after them."""

PRIVATE = """\
set -e
mount -t tmpfs -o mode=1730,gid=crontab none /var/spool/cron/crontabs
mount -t tmpfs none /etc/cron.d
mount -t tmpfs none /run
: > /run/empty
mount --bind /run/empty /etc/crontab
{setup}
exec {cron} -f
"""


@pytest.mark.cron
@pytest.mark.clock
@pytest.mark.timeout(400)
def test_two_projects_and_two_crons_for_two_minutes(make_embedded_project: Callable[..., Project]) -> None:
    cron = need("cron")
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("cron runs jobs for root alone")
    first = make_embedded_project(FIRST, {"work.py": WORK}, name="first % one")
    second = make_embedded_project(SECOND, {"work.py": WORK}, name="second")
    out = second.path
    mine = out / "mine"
    mine.write_text(OTHERS + _lines(first, out))
    for project in (first, second):
        # A schedule counts from when it is first seen. Then cold again: cron's own commands start the servers.
        project.cli("tick").check()
        stop(project.settings)
    one = _host(cron, [first, second], mine, out / "one")
    other = _host(cron, [first], mine, out / "other")
    with first.worker(ready=False) as worker, second.worker(ready=False) as fellow:
        with one, other:
            worker.wait_for("runner worker ready", 60.0)
            fellow.wait_for("runner worker ready", 60.0)
            wait_until((out / "bad.code").exists, PATIENCE, "cron has run the failing job")
            for project in (first, second):
                wait_until(partial(_has_run_twice, project), PATIENCE, "runs of two slots")
        for project in (first, second):
            wait_until(partial(_has_ended, project), 60.0, "their end")

    for name in ("one", "other"):
        assert (out / name).read_bytes().startswith(mine.read_bytes()), "other lines were changed"
    assert (out / "one").read_text().count(" tick\n") == 2
    for project in (first, second):
        runs = _runs(project)
        assert {run["state"] for run in runs} == {"SUCCESS"}
        assert sorted(_marks(project)) == sorted(run["id"] for run in runs), "a run was started twice"
        slots = sorted(datetime.fromisoformat(run["slot"]) for run in runs)
        assert all(slot.second == 0 for slot in slots)
        assert {b - a for a, b in pairwise(slots)} == {timedelta(minutes=1)}, "a slot has two runs, or none"
    _check_failure(first, out)
    environment = (out / "environment").read_text()
    assert "PYTHONPATH" not in environment
    assert f"HOME={pwd.getpwuid(os.geteuid()).pw_dir}" in environment


def _lines(project: Project, out: Path) -> str:
    """Return lines of a person's own; one host alone has their keys, the other finds the runs that exist."""
    words = [sys.executable, "-m", "runner", "--project", str(project.path), "submit"]
    submit = shlex.join(words).replace("%", r"\%")
    more = '--wait --quiet --key "$(date +\\%F)"'
    return (
        f"* * * * * {submit} good {more} >>{out}/good.out 2>>{out}/good.err\n"
        f"* * * * * {submit} bad {more} >>{out}/bad.out 2>{out}/bad.err.$$;"
        f" code=$?; mv {out}/bad.err.$$ {out}/bad.err; echo $code >{out}/bad.code\n"
        f"* * * * * env >{out}/environment\n"
    )


def _host(cron: str, projects: list[Project], table: Path, listed: Path) -> Running:
    """Start a cron in mounts of its own, with a crontab into which the projects were installed."""
    runner = shlex.join([sys.executable, "-m", "runner"])
    setup = [f"crontab {shlex.quote(str(table))}"]
    for project in projects:
        setup += [f"{runner} --project {shlex.quote(str(project.path))} cron {verb}" for verb in ("install", "check")]
    setup += [f"crontab -l > {shlex.quote(str(listed))}"]
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    script = PRIVATE.format(setup="\n".join(setup), cron=cron)
    return Running([unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", script], cwd=Path("/"), grace=5.0)


def _runs(project: Project) -> list[dict[str, Any]]:
    return list(project.cli("runs", "--job", "ticks", "--json").check().json)


def _has_run_twice(project: Project) -> bool:
    return len(_marks(project)) >= 2


def _has_ended(project: Project) -> bool:
    return all(run["finished_at"] for run in _runs(project))


def _marks(project: Project) -> list[str]:
    marks = project.path / "marks"
    return marks.read_text().split() if marks.exists() else []


def _check_failure(project: Project, out: Path) -> None:
    runs = project.cli("runs", "--json").check().json
    assert {run["job"] for run in runs} == {"good", "bad", "ticks"}
    [bad] = [run for run in runs if run["job"] == "bad"]
    assert (bad["state"], bad["reason"]) == ("FAILURE", "exception")
    assert (out / "bad.code").read_text().strip() == "1"
    text = (out / "bad.err").read_text()
    named = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", text)
    assert named, text
    assert named.group() == bad["id"]
    for part in ("bad", "exception", "the invoice is missing", str(project.path), "runner status"):
        assert part in text, f"{part!r} is not in:\n{text}"
    assert (out / "good.err").read_text() == ""
    assert (out / "good.out").read_text() == ""
