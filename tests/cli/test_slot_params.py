"""``schedule.params``: from the slot to the run, everywhere it is shown."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

JOBS = """\
jobs:
  second:
    task: builtins:dict
    params: {day: {type: string, format: date, required: true}, at: {type: string, required: true}}
    schedule:
      every: 1s
      timezone: Pacific/Kiritimati
      params: {day: "${run.slot.date - 1d}", at: "${run.slot | %H:%M:%S}"}
  two:
    task: builtins:dict
    params: {day: {type: string, required: true}, full: {type: boolean, default: false}}
    schedule:
      - {cron: "0 2 * * *", timezone: Europe/Berlin, params: {day: "${run.slot.date - 1d}"}}
      - {cron: "0 2 1 * *", timezone: Europe/Berlin, params: {day: never}}
      - {cron: "0 3 1 * *", timezone: UTC, params: {day: "${run.slot - 1mo | %Y-%m}", full: true}}
"""


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Project:
    return write_project(tmp_path / "p", redis_server.url, JOBS)


def expected(slot: str) -> dict[str, Any]:
    at = datetime.fromisoformat(slot).astimezone(ZoneInfo("Pacific/Kiritimati"))
    return {"day": f"{at.date() - timedelta(days=1)}", "at": f"{at:%H:%M:%S}"}


def test_a_run_has_the_params_of_its_slot_and_a_rerun_has_the_same(project: Project) -> None:
    project.cli("tick").check()

    def due() -> list[dict[str, str]]:
        return list(project.cli("tick", "--json", env={"TZ": "America/New_York"}).check().json["submitted"])

    made = wait_until(due)[0]
    assert project.document(made["id"])["params"] == expected(made["slot"])
    why = project.cli("why", made["id"], "--utc").check().stdout
    assert f", day={expected(made['slot'])['day']}" in why
    # Whatever the schedule says by now.
    project.write({"jobs.d/jobs.yaml": JOBS.replace("- 1d", "- 7d")})
    with project.worker(env={"TZ": "Asia/Tokyo"}):
        first = project.wait_for_state(made["id"], "SUCCESS")
        again = project.cli("rerun", made["id"], "--wait", "--json").check().json
    assert first["result"] == again["result"] == expected(made["slot"])
    assert again["params"] == first["params"]


def test_upcoming_shows_the_params_of_each_schedule(project: Project) -> None:
    asked = ("upcoming", "--job", "two", "--from", "2030-02-27", "-n", "5")
    found = project.cli(*asked, "--json").check().json
    assert [(slot["slot"][:16], slot["params"]) for slot in found] == [
        ("2030-02-27T01:00", {"day": "2030-02-26"}),
        ("2030-02-28T01:00", {"day": "2030-02-27"}),
        # Two schedules name this slot, and the first one counts.
        ("2030-03-01T01:00", {"day": "2030-02-28"}),
        ("2030-03-01T03:00", {"day": "2030-02", "full": True}),
        ("2030-03-02T01:00", {"day": "2030-03-01"}),
    ]
    lines = project.cli(*asked, "--utc").check().stdout.splitlines()
    assert lines[0].split()[-1] == "PARAMS"
    assert lines[4].endswith("day=2030-02 full=true")


def test_missed_runs_are_shown_with_their_params(project: Project) -> None:
    project.cli("tick").check()

    def missed() -> list[dict[str, Any]]:
        found = project.cli("upcoming", "--json", "--job", "second").check().json
        return [slot for slot in found if slot["missed"]]

    for slot in wait_until(missed):
        assert slot["params"] == expected(slot["slot"])


def test_plan_shows_changed_params_and_no_moved_schedule(project: Project, tmp_path: Path) -> None:
    edited = JOBS.replace("%H:%M:%S", "%H:%M")
    other = write_project(tmp_path / "q", project.redis_url, edited, settings={"namespace": project.namespace})
    with project.worker():
        plan = other.cli("plan", "--json").check(1).json
    assert plan["schedules"] == []
    assert plan["changed"] == {
        "second": [{"option": "schedule.params.at", "before": "${run.slot | %H:%M:%S}", "after": "${run.slot | %H:%M}"}]
    }


def test_a_line_for_each_job_cannot_give_params(project: Project) -> None:
    refused = project.cli("cron", "show", "--per-job").check(2)
    assert "second: its schedule gives params, which cron and systemd cannot" in refused.stderr
    assert "leave out --per-job" in refused.stderr
    project.cli("cron", "show").check()


def test_a_scheduled_job_whose_params_nobody_gives_is_refused(project: Project) -> None:
    project.write({"jobs.d/jobs.yaml": JOBS.replace('{day: "${run.slot.date - 1d}", at', "{at")})
    output = project.cli("validate").check(2).stdout
    assert "jobs.second.schedule: the job requires day, which the schedule does not set" in output
    project.cli("tick").check()
    assert project.cli("upcoming", "--job", "two", "-n", "1", "--json").check().json
