"""Slots that are left out, and why, in ``upcoming``, ``plan``, ``why``, and ``jobs``; calendars that break."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fleet import beside, workers
from tests.cli.scheduled import slots
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

SETTINGS: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "calendars": {"closed": "file:closed.txt", "trading": "file:trading.ics", "bavaria": "holidays:DE-BY"},
}
TRADING = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:tests
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20261124
SUMMARY:Shares are counted
END:VEVENT
END:VCALENDAR
"""
FILES = {"closed.txt": "2026-11-26 Inventory\n", "trading.ics": TRADING}
JOBS = """\
jobs:
  nightly:
    task: time:time
    schedule: {cron: "0 2 * * *", except: [calendar:closed, calendar:trading, calendar:bavaria, 2026-11-28]}
  office: {task: "time:time", schedule: {every: 1h, only: [{from: "09:00", to: "17:00", days: [tue]}]}}
  plain: {task: "time:time", schedule: "0 2 * * *"}
"""


@pytest.fixture
def ruled(tmp_path: Path, redis_server: Server) -> Project:
    """A project whose schedules have rules, and without a worker."""
    return write_project(tmp_path / "p", redis_server.url, JOBS, FILES, SETTINGS)


def test_upcoming_shows_what_is_left_out(ruled: Project) -> None:
    asked = ("upcoming", "--from", "2026-11-23 12:00", "--to", "2026-11-28 12:00", "--job", "nightly")
    found = ruled.cli(*asked, "--json").check().json
    assert [(slot["slot"][5:16], (slot.get("skipped") or {}).get("reason")) for slot in found] == [
        ("11-24T01:00", "except calendar:trading: Shares are counted"),
        ("11-25T01:00", None),
        ("11-26T01:00", "except calendar:closed: Inventory"),
        ("11-27T01:00", None),
        ("11-28T01:00", "except 2026-11-28"),
    ]
    out = found[0]
    assert (out["id"], out["start"], out["missed"], out["queue"]) == (None, None, False, "default")
    assert out["skipped"]["until"] == "2026-11-24T23:00:00.000Z"
    assert set(out) == {*found[1], "skipped"}
    lines = ruled.cli(*asked, "--utc").check().stdout.splitlines()
    assert "EXCEPT calendar:closed: Inventory, until 2026-11-26 23:00:00+00:00" in lines[3]
    assert "EXCEPT" not in lines[2]
    holidays = ruled.cli("upcoming", "--from", "2026-12-24 12:00", "--to", "2026-12-26 12:00", "--json").check().json
    out = [holiday for holiday in holidays if holiday["job"] == "nightly"]
    assert len(out) == 2
    assert all(holiday["skipped"]["reason"].startswith("except calendar:bavaria: ") for holiday in out)


def test_upcoming_shows_what_lies_before_the_next_run_of_each_job(ruled: Project) -> None:
    found = ruled.cli("upcoming", "--from", "2026-11-24 20:00", "--json").check().json
    assert [(slot["job"], slot["slot"][5:16], "skipped" in slot) for slot in found] == [
        ("office", "11-24T20:00", True),
        ("nightly", "11-25T01:00", False),
        ("plain", "11-25T01:00", False),
        ("office", "12-01T08:00", False),
    ]
    assert found[0]["skipped"] == {"until": "2026-12-01T08:00:00.000Z", "reason": "outside of only"}


def test_a_calendar_that_cannot_be_read(ruled: Project) -> None:
    (ruled.path / "closed.txt").write_text("26.11.2026\n")
    done = ruled.cli("validate", "--json").check(2)
    [problem] = done.json["problems"]
    assert (problem["file"], problem["path"]) == ("runner.yaml", "calendars.closed")
    line = (ruled.path / "runner.yaml").read_text().splitlines()[problem["line"] - 1]
    assert line[problem["column"] - 1 :].lstrip().startswith(("file:closed.txt", '"file:closed.txt"'))
    assert "closed.txt line 1: '26.11.2026' is not a date" in problem["message"]
    text = ruled.cli("upcoming").check()
    assert "job nightly is left out, its calendar closed cannot be read: closed.txt line 1" in text.stderr
    assert {"plain", "office"} <= set(text.stdout.split())
    assert "closed.txt line 1" in ruled.cli("doctor").stdout
    assert "its calendar closed cannot be read" in ruled.cli("tick").check().stderr
    # By hand it runs at any time.
    ruled.cli("submit", "nightly").check()
    (ruled.path / "closed.txt").unlink()
    shown = ruled.cli("validate").check(2).stdout
    assert "calendars.closed" in shown
    assert "No such file or directory" in shown
    assert "Traceback" not in shown


def test_a_calendar_that_is_not_declared(ruled: Project) -> None:
    ruled.write({"jobs.d/jobs.yaml": JOBS.replace("calendar:trading", "calendar:tradign")})
    shown = ruled.cli("validate").check(2).stdout
    assert "jobs.d/jobs.yaml:4:" in shown
    assert "runner.yaml has no calendar tradign, did you mean calendar:trading?" in shown
    ruled.cli("submit", "nightly").check(2)
    ruled.cli("submit", "plain").check()


def test_validate_checks_a_named_file_by_the_calendars_of_its_project(ruled: Project) -> None:
    ruled.cli("validate", "jobs.d/jobs.yaml").check()
    ruled.write({"more.yaml": "jobs:\n  a: {task: 'a:b', schedule: {every: 1h, only: ['calendar:gone']}}\n"})
    assert "has no calendar gone" in ruled.cli("validate", "more.yaml").check(2).stdout


def test_backfill_leaves_slots_out_too(ruled: Project) -> None:
    asked = ("backfill", "nightly", "--from", "2026-01-01", "--to", "2026-01-08")
    made = ruled.cli(*asked, "--json").check().json
    # New Year, and Epiphany, by the clock of Berlin.
    assert [slot["slot"][8:13] for slot in made["slots"]] == ["02T01", "03T01", "04T01", "05T01", "07T01", "08T01"]
    (ruled.path / "closed.txt").write_text("never\n")
    shown = ruled.cli(*asked).check(2).stderr
    assert "the slots of job nightly are not known: its calendar closed cannot be read" in shown


def test_a_wrong_declaration(ruled: Project) -> None:
    wrong = {
        "days": "'2026-12-25' is not a calendar, write [2026-12-25]",
        "file": "'trading.ics' is not a calendar, write file:trading.ics",
        "country": "'holidays:de-by' is not a calendar, write holidays:DE-BY",
        "none": "is empty, write a list of dates",
        "date": "'2026-13-01' is not a date",
        "number": "expected a list of dates or text, got a whole number",
        "a b": "as a name, 'a b' is not valid",
    }
    ruled.write(
        {
            "runner.yaml": f"redis_url: {ruled.redis_url}\ncalendars:\n  days: 2026-12-25\n  file: trading.ics\n"
            "  country: holidays:de-by\n  none: []\n  date: [2026-13-01]\n  number: 5\n  a b: [2026-12-25]\n"
        }
    )
    shown = ruled.cli("validate").check(2).stdout
    for name, text in wrong.items():
        assert f"calendars.{name}" in shown
        assert text.removeprefix("as a name, ") in shown
    assert "{NAME: " not in shown


def test_why_names_what_is_left_out(ruled: Project) -> None:
    day = (datetime.now(UTC) + timedelta(days=1)).date()
    days = "".join(f"{day + timedelta(days=number)} Works\n" for number in range(-3, 4))
    ruled.write({"closed.txt": days})
    shown = ruled.cli("why", "@nightly").check(4).stderr
    assert "job nightly has no runs, and its schedule leaves out" in shown
    assert "except calendar:closed: Works" in shown
    ruled.cli("submit", "nightly").check()
    answer = ruled.cli("why", "@nightly", "--json").check().json
    [coming] = answer["facts"]["left_out"]
    assert coming["reason"].endswith("Works")
    assert any(f"its schedule leaves out {coming['slot']}" in reason for reason in answer["because"])
    run_id = answer["id"]
    assert ruled.cli("why", run_id, "--json").check().json["facts"]["left_out"] == []


def test_jobs_shows_that_there_are_rules(ruled: Project) -> None:
    shown = ruled.cli("jobs").check().stdout
    assert "0 2 * * * with except" in shown
    assert "every 1h with only" in shown


def test_plan_shows_what_is_left_out(make_project: Callable[..., Project], tmp_path: Path) -> None:
    plain = {"task": "time:time", "schedule": "0 2 * * *"}
    project = make_project({"nightly": plain})
    with project.worker(concurrency=1):
        wait_until(lambda: any(worker["catalog"] for worker in workers(project)), 30.0, "the worker tells what it runs")
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
        days = [str(tomorrow + timedelta(days=number)) for number in range(-1, 2)]
        ruled = {"task": "time:time", "schedule": {"cron": "0 2 * * *", "except": days}}
        ahead = beside(project, "jobs: {}\n", tmp_path)
        ahead.write({"jobs.d/jobs.yaml": f"jobs:\n  nightly: {ruled}\n".replace("'", '"')})
        plan = ahead.cli("plan", "--json").check(1).json
        [moved] = plan["schedules"]
        assert [slot["reason"] for slot in moved["skipped"]][-2:] == [f"except {day}" for day in days[-2:]]
        assert moved["after"][0] > moved["skipped"][-1]["slot"]
        shown = ahead.cli("plan").check(1).stdout
        assert f"except {days[-1]}" in shown
        assert "    left out: " in shown


def test_a_running_scheduler_keeps_the_last_good_calendar(tmp_path: Path, redis_server: Server) -> None:
    often = 'task: "time:time", schedule: {every: 1s'
    jobs = f"jobs:\n  ruled: {{{often}, except: ['calendar:closed']}}}}\n  control: {{{often}}}}}\n"
    settings = {"calendars": {"closed": "file:closed.txt"}}
    project = write_project(tmp_path / "p", redis_server.url, jobs, {"closed.txt": "2099-01-01\n"}, settings)
    with project.start("scheduler") as scheduler:
        scheduler.wait_for("ready: 2 scheduled jobs")
        wait_until(lambda: slots(project, "ruled"))
        (project.path / "closed.txt").write_text("never\n")
        scheduler.wait_for("calendar closed cannot be read: .*; what was read before stays in force")
        known = len(slots(project, "ruled"))
        wait_until(lambda: len(slots(project, "ruled")) >= known + 2)
        (project.path / "closed.txt").unlink()
        scheduler.wait_for("No such file or directory.*; what was read before stays in force")
        known = len(slots(project, "ruled"))
        wait_until(lambda: len(slots(project, "ruled")) >= known + 2)
        today = datetime.now(UTC).date()
        (project.path / "closed.txt").write_text("".join(f"{today + timedelta(days=n)}\n" for n in (-1, 0, 1)))
        scheduler.wait_for("files have changed: 2 jobs")
        # The other job goes on, and this one does not.
        last = slots(project, "control")[-1]
        wait_until(lambda: len([slot for slot in slots(project, "control") if slot > last]) >= 3)
        reached = slots(project, "control")[-1]
        wait_until(lambda: slots(project, "control")[-1] > reached)
        assert not [slot for slot in slots(project, "ruled") if slot > reached]
        scheduler.signal(signal.SIGTERM)
        assert scheduler.wait() == 0
        assert "Traceback" not in scheduler.stderr


def test_a_scheduler_that_starts_with_a_broken_calendar(tmp_path: Path, redis_server: Server) -> None:
    jobs = "jobs:\n  ruled: {task: 'time:time', schedule: {every: 1s, except: ['calendar:closed']}}\n"
    settings = {"calendars": {"closed": "file:closed.txt"}}
    project = write_project(tmp_path / "p", redis_server.url, jobs, {"closed.txt": "never\n"}, settings)
    with project.start("scheduler") as scheduler:
        scheduler.wait_for("calendar closed cannot be read: .*; jobs that name it are left out")
        scheduler.wait_for("ready")
        (project.path / "closed.txt").write_text("2099-01-01\n")
        wait_until(lambda: slots(project, "ruled"))
