"""``runner backfill``: a run for each slot of the past, once, whoever is killed."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

MODULE = """\
import os, time
from pathlib import Path

HERE = Path(__file__).parent


def note(day):
    with open(HERE / "days", "a") as file:
        file.write(day + chr(10))


def gated(day):
    with open(HERE / "moves", "a") as file:
        file.write("+" + day + chr(10))
    while not (HERE / "gate").exists():
        time.sleep(0.02)
    time.sleep(0.05)
    with open(HERE / "moves", "a") as file:
        file.write("-" + day + chr(10))
"""
JOBS = """\
defaults:
  params: {day: {type: string, format: date, required: true}}
  schedule: {cron: "0 2 * * *", timezone: Europe/Berlin, params: {day: "${run.slot.date}"}}
jobs:
  daily: {task: "days:note", expires: 1h}
  gated: {task: "days:gated", concurrency: {limit: 5, policy: skip}}
  by-hand: {task: "days:note", schedule: null}
  disabled: {task: "days:note", enabled: false}
"""


# What the doctor looks for among runs that wait.
KINDS = {"slots", "runs-without-message", "duplicate-messages", "leftover-messages", "undecided"}


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Project:
    return write_project(tmp_path / "p", redis_server.url, JOBS, {"days.py": MODULE})


def days(first: str, number: int) -> list[str]:
    return [str(date.fromisoformat(first) + timedelta(days=index)) for index in range(number)]


def runs(project: Project, job: str, *args: str) -> list[dict[str, Any]]:
    return list(project.cli("runs", "--job", job, "--limit", "1000", "--json", *args).check().json)


def the_backfill(project: Project) -> dict[str, Any]:
    [found] = project.cli("backfills", "--json").check().json
    return dict(found)


def test_each_slot_gets_a_run_with_its_params_once(project: Project) -> None:
    asked = ("backfill", "daily", "--from", "2026-03-27", "--to", "2026-03-31")
    dry = project.cli(*asked, "--dry-run").check()
    assert dry.stdout.splitlines()[1].split()[-1] == "day=2026-03-27"
    assert dry.stderr == "5 runs would be submitted, 0 slots skipped\n"
    assert project.cli("backfills").check().stderr == "no backfills\n"
    made = project.cli(*asked, "--json").check().json
    # The clock of Berlin is put forward on the 29th.
    slots = ["27T01", "28T01", "29T01", "30T00", "31T00"]
    assert [slot["slot"] for slot in made["slots"]] == [f"2026-03-{hour}:00:00.000Z" for hour in slots]
    assert (made["submitted"], made["skipped"]) == (5, 0)
    found = runs(project, "daily", "--backfill", made["id"])
    assert sorted((run["slot"], run["params"]["day"]) for run in found) == [
        (slot["slot"], day) for slot, day in zip(made["slots"], days("2026-03-27", 5), strict=True)
    ]
    assert {(run["trigger"], run["backfill"], run["expires_at"]) for run in found} == {("backfill", made["id"], None)}
    assert {run["id"] for run in found} == {slot["id"] for slot in made["slots"]}
    again = project.cli(*asked).check()
    assert again.stdout == ""
    assert again.stderr == "0 runs of daily submitted, 5 slots skipped that had a run; --again runs them again\n"
    wider = project.cli("backfill", "daily", "--from", "2026-03-26", "--to", "2026-03-31T23:00", "--json").check().json
    assert (wider["submitted"], wider["skipped"]) == (1, 5)
    with project.worker():
        wait_until(lambda: all(backfill["unfinished"] == 0 for backfill in project.cli("backfills", "--json").json))
    assert [(backfill["runs"], backfill["SUCCESS"]) for backfill in project.cli("backfills", "--json").json] == [
        (1, 1),
        (5, 5),
    ]
    repeated = project.cli(*asked, "--again", "--json").check().json
    assert (repeated["submitted"], repeated["skipped"]) == (5, 0)
    assert not {slot["id"] for slot in repeated["slots"]} & {run["id"] for run in found}
    assert len(runs(project, "daily")) == 11


def test_a_time_of_day_is_the_last_one_and_ends_the_range_after_it(project: Project) -> None:
    shown = project.cli("backfill", "daily", "--from", "12:00", "--to", "11:00", "--dry-run", "--json").check().json
    begin, end = (datetime.fromisoformat(shown[key]) for key in ("from", "to"))
    assert begin <= datetime.now(UTC) < begin + timedelta(hours=26)
    assert timedelta(hours=22) <= end - begin <= timedelta(hours=24)


def test_a_year_of_days_killed_ten_times_is_365_runs(project: Project) -> None:
    chance = random.Random(11)
    asked = ("backfill", "daily", "--from", "2025-01-01", "--to", "2025-12-31", "--at-once", "7")
    ledger = project.ledger()

    def kill_one(patience: float) -> None:
        before = ledger.client.dbsize()
        with project.start(*asked) as caller:
            # In the middle of what it submits, if it has anything left to submit.
            wait_until(lambda: caller.process.poll() is not None or ledger.client.dbsize() != before)
            time.sleep(patience)  # when it is killed is left to chance
            caller.kill()

    for _ in range(5):
        kill_one(0.0)
    with project.worker(concurrency=4):
        for _ in range(5):
            kill_one(chance.uniform(0.0, 0.5))
        project.cli(*asked).check()
        wait_until(lambda: the_backfill(project)["SUCCESS"] == 365, 120.0)
        assert project.cli(*asked, "--json").check().json["submitted"] == 0
    found = runs(project, "daily")
    assert sorted(run["params"]["day"] for run in found) == days("2025-01-01", 365)
    assert len({run["slot"] for run in found}) == 365
    assert {run["state"] for run in found} == {"SUCCESS"}
    assert Counter((project.path / "days").read_text().split()) == Counter(days("2025-01-01", 365))
    backfill = the_backfill(project)
    assert (backfill["runs"], backfill["unfinished"], backfill["slots"]) == (365, 0, 365)
    assert ledger.client.hlen(ledger.keys.limits) == 0
    ledger.close()


def most_at_once(project: Project) -> int:
    count = most = 0
    for move in (project.path / "moves").read_text().split():
        count += 1 if move[0] == "+" else -1
        most = max(most, count)
    return most


def test_the_fleet_keeps_to_at_once_in_the_order_of_slots(project: Project) -> None:
    """Also of a job that would skip, and while the caller is long gone; and a doctor finds all well."""
    asked = ("backfill", "gated", "--from", "2026-01-01", "--to", "2026-01-12", "--at-once", "3")
    project.cli(*asked).check()
    moves = project.path / "moves"
    with project.worker(concurrency=4), project.worker(concurrency=4):
        wait_until(lambda: moves.exists() and len(moves.read_text().split()) == 3)
        waiting = [run for run in runs(project, "gated") if run["state"] == "PENDING"]
        assert len(waiting) == 9
        why = project.cli("why", waiting[0]["id"]).check().stdout
        assert "it waits for its turn in backfill" in why
        assert why.count("held by run") == 3
        report = project.cli("doctor", "--json").json
        assert "waiting for its turn" in waiting[0]["detail"]
        assert {check["level"] for check in report["checks"] if check["name"] in KINDS} <= {"ok"}, report
        (project.path / "gate").touch()
        wait_until(lambda: the_backfill(project)["SUCCESS"] == 12)
    assert most_at_once(project) == 3
    started = [move[1:] for move in moves.read_text().split() if move[0] == "+"]
    assert sorted(started[:3]) == days("2026-01-01", 3)
    assert sorted(started) == days("2026-01-01", 12)


def test_a_backfill_is_revoked_as_one(project: Project) -> None:
    project.cli("backfill", "gated", "--from", "2026-01-01", "--to", "2026-01-20", "--at-once", "2").check()
    backfill = the_backfill(project)
    listed = project.cli("runs", "--backfill", backfill["id"], "-n", "100", "-o", "name").check().stdout
    assert len(listed.split()) == 20
    assert project.cli("runs", "--backfill", backfill["id"][:8], "-n", "100", "-o", "name").check().stdout == listed
    for unknown in ("00000000", backfill["id"][:-1] + ("0" if backfill["id"][-1] != "0" else "1")):
        assert "there is no backfill" in project.cli("runs", "--backfill", unknown).check(4).stderr
    with project.worker(concurrency=4):
        wait_until(lambda: (project.path / "moves").exists())
        wait_until(lambda: len([run for run in runs(project, "gated") if run["state"] == "STARTED"]) == 2)
        done = project.cli("revoke", "--backfill", backfill["id"][:8], "--terminate", "--comment", "wrong year").check()
        assert "18 runs revoked" in done.stderr
        assert "2 runs are being terminated" in done.stderr
        wait_until(lambda: the_backfill(project)["REVOKED"] == 20)
    assert the_backfill(project)["revoked"]
    assert {run["revocation"]["comment"] for run in runs(project, "gated")} == {"wrong year"}
    assert {move[0] for move in (project.path / "moves").read_text().split()} == {"+"}
    # These slots had a run. Asked for again, they get another one.
    assert project.cli("backfill", "gated", "--from", "2026-01-01", "--to", "2026-01-20").check().stdout == ""
    more = project.cli("backfill", "gated", "--from", "2026-01-01", "--to", "2026-01-02", "--again").check()
    assert more.stdout.strip() != backfill["id"]
    project.cli("revoke", "--backfill", "00000000").check(4)
    project.cli("revoke").check(2)
    project.cli("revoke", backfill["id"], "--backfill", backfill["id"]).check(2)


def test_a_paused_job_keeps_its_places(project: Project) -> None:
    asked = ("backfill", "daily", "--from", "2026-01-01", "--to", "2026-01-09", "--at-once", "2")
    project.cli(*asked).check()
    project.cli("pause", "daily").check()
    project.cli("backfill", "daily", "--from", "2026-02-01", "--to", "2026-02-02").check(5)
    with project.worker():
        wait_until(lambda: [run["detail"] for run in runs(project, "daily")].count("the job is paused") == 2)
        project.cli("resume", "daily").check()
        wait_until(lambda: the_backfill(project)["SUCCESS"] == 9)


@pytest.mark.parametrize(
    ("asked", "exit_code", "told"),
    [
        (("by-hand", "--from", "2026-01-01", "--to", "2026-01-02"), 2, "has no schedule"),
        (("disabled", "--from", "2026-01-01", "--to", "2026-01-02"), 5, "is disabled"),
        (("nope", "--from", "2026-01-01", "--to", "2026-01-02"), 2, "nope"),
        (("daily", "--from", "2026-01-02", "--to", "2026-01-01"), 2, "lies before"),
        (("daily", "--from", "yesterday", "--to", "2026-01-01"), 2, "is not a time"),
        (("daily", "--from", "2026-02-30", "--to", "2026-03-01"), 2, "'2026-02-30' is not a day"),
        (("daily", "--from", "1500-01-01", "--to", "2026-03-01"), 2, "1500-01-01 is not within the years"),
        (("daily", "--from", "1900-01-01", "--to", "2900-01-01", "--at-once", "0"), 2, "at-once"),
        (("daily", "--from", "2999-01-01", "--to", "2999-01-03"), 0, "left to the schedule"),
    ],
)
def test_what_is_refused(project: Project, asked: tuple[str, ...], exit_code: int, told: str) -> None:
    assert told in project.cli("backfill", *asked).check(exit_code).stderr
    assert project.cli("backfills", "--json").check().json == []
