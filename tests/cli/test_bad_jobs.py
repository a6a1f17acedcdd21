"""One bad job never stops the others: whatever is odd about a schedule or its records, in any command."""

from __future__ import annotations

import re
import time
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.actions.plan import plan
from runner.actions.project import Project as OpenProject
from runner.actions.tick import Engine
from runner.actions.upcoming import upcoming
from runner.ledger.slots import FARTHEST_AHEAD, Note, note, read_marks
from runner.web.calendar import Calendar
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

HOUR = "every: 1h"

ODD = {
    # The ends of the calendar.
    "first-year": f"{{{HOUR}, start: '0002-01-01', timezone: Europe/Berlin}}",
    "first-year-east": f"{{{HOUR}, start: '0002-01-01T00:00:00+23:59'}}",
    "starts-last": f"{{{HOUR}, start: '9999-12-31'}}",
    "starts-last-east": f"{{{HOUR}, start: '9999-12-31T23:59:59+23:59'}}",
    "starts-last-west": f"{{{HOUR}, start: '9999-12-31T23:59:59-23:59'}}",
    "starts-last-cron": "{cron: '0 0 * * *', start: '9999-12-31', timezone: America/New_York}",
    "ends-last": f"{{{HOUR}, end: '9999-12-31'}}",
    "ends-last-west": f"{{{HOUR}, end: '9999-12-31T23:59:59.999999-23:59'}}",
    "ends-last-cron": "{cron: '0 * * * *', end: '9999-12-31T23:59:59', timezone: Pacific/Kiritimati}",
    "ended-first": f"{{{HOUR}, end: '0002-01-02'}}",
    "never-again": "{cron: '0 0 29 2 *', start: '9996-01-01'}",
    # Time zones.
    "west": "{cron: '*/5 * * * *', timezone: Etc/GMT+12}",
    "east": "{cron: '*/5 * * * *', timezone: Etc/GMT-14}",
    "lost-day": "{cron: '30 23 * * *', timezone: Pacific/Apia, start: '2011-12-30'}",
    "of-old": "{cron: '0 * * * *', timezone: Africa/Monrovia, start: '1882-01-01'}",
    # Lengths.
    "rare": "{every: 3650d, jitter: 3650d, catchup: all, catchup_window: 3650d}",
    "often": "{every: 1s, catchup: all, catchup_window: 3650d, jitter: 3650d}",
    "often-cron": "{cron: '* * * * * *', catchup: all, catchup_window: 3650d}",
    "leap": "{cron: '0 0 29 2 mon', catchup: none}",
    "many": "[" + ", ".join(f"{{every: {number}s}}" for number in range(1, 40)) + "]",
}

REFUSED = {
    "too-early": f"{{{HOUR}, start: '0001-01-01', timezone: Europe/Berlin}}",
    "too-early-here": f"{{{HOUR}, start: '0001-01-01'}}",
    "too-early-east": f"{{{HOUR}, start: '0001-01-01T00:00:00+14:00'}}",
    "ends-too-early": f"{{{HOUR}, end: '0001-01-01', timezone: Asia/Tokyo}}",
    "never": "{cron: '0 0 30 2 *'}",
    "backwards": f"{{{HOUR}, start: '9999-01-01', end: '0002-01-01'}}",
    "too-long": "{every: 99999d}",
    "huge": "{every: 9" + "9" * 400 + "s}",
    "nowhere": f"{{{HOUR}, timezone: ../../etc/passwd}}",
    "folder": f"{{{HOUR}, timezone: America}}",
}

NOWS = ("now", "1970-01-01", "2011-12-30", "9979-12-31")


def jobs(schedules: dict[str, str]) -> str:
    lines = [f"  {name}: {{task: 'time:time', schedule: {text}}}\n" for name, text in schedules.items()]
    return "jobs:\n" + "".join(lines)


GOOD = {"good": "{every: 1s}"}


@pytest.fixture
def place(tmp_path: Path, redis_server: Server) -> Project:
    return write_project(tmp_path / "p", redis_server.url, settings={"timezone": "America/New_York"})


@pytest.fixture
def opened(place: Project) -> Iterator[OpenProject]:
    place.write({"jobs.d/jobs.yaml": jobs(GOOD)})
    project = OpenProject.open(str(place.path))
    yield project
    project.ledger.close()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_an_odd_schedule_beside_a_good_one(place: Project, opened: OpenProject, name: str, zone: str) -> None:
    place.write({"jobs.d/odd.yaml": jobs({name: ODD[name]})})
    text = (place.path / "runner.yaml").read_text()
    place.write({"runner.yaml": text.replace("America/New_York", zone)})
    opened = OpenProject.open(str(place.path))
    assert opened.catalog.problems == ()
    for text in NOWS:
        now = time.time() if text == "now" else datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        faults: dict[str, str] = {}
        found = upcoming(opened, since=now, faults=faults)
        assert any(slot.job.name == "good" for _, slot in zip(range(100), found, strict=False))
        assert faults == {}
        engine = Engine(opened, clock=partial(round, now * 1000))
        engine.tick()
        engine.clock = partial(round, (now + 2) * 1000)
        ticked = engine.tick()
        assert "good" in {job for job, _, _ in ticked.submitted}
        assert ticked.faults == engine.behind().faults == {}
        opened.ledger.client.delete(f"{place.namespace}:slots", f"{place.namespace}:schedules")
        calendar = Calendar(opened.catalog, zone)
        moment = datetime.fromtimestamp(now, UTC)
        assert {due.job for due in calendar.soonest(moment, 10)} >= {"good"}
        assert "good" in calendar.day(moment.date())[1]
        assert set(calendar.tables) == {"good", name}
    plan(opened)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_schedule_is_refused_where_it_stands(place: Project, name: str) -> None:
    place.write({"jobs.d/jobs.yaml": jobs({**GOOD, name: REFUSED[name]})})
    done = place.cli("validate").check(2)
    assert re.search(rf"jobs\.d/jobs\.yaml:3:\d+: jobs\.{name}\.schedule", done.stdout)
    found = place.cli("upcoming", "--limit", "1", "--json").check().json
    assert [slot["job"] for slot in found] == ["good"]


def gone_zone(place: Project) -> Path:
    """Make a job in a zone that this host forgets as soon as the catalog is cached; return the zone's file."""
    zone = place.path / "zones" / "Test" / "Gone"
    zone.parent.mkdir(parents=True)
    zone.write_bytes(files("tzdata.zoneinfo.Europe").joinpath("Berlin").read_bytes())
    place.environment["PYTHONTZPATH"] = ":".join([str(place.path / "zones"), *zoneinfo.TZPATH])
    place.write({"jobs.d/gone.yaml": jobs({"gone": "{cron: '* * * * *', timezone: Test/Gone}"})})
    cache = place.path / ".runner" / "cache"

    def cached() -> bool:
        assert "gone" in {job["name"] for job in place.cli("jobs", "--json").check().json}
        return any(b"Test/Gone" in path.read_bytes() for path in cache.rglob("*") if path.is_file())

    wait_until(cached, 30.0, "the catalog is cached")
    zone.unlink()
    # runner jobs has computed the next slot already.
    (cache / "schedules.json").unlink(missing_ok=True)
    return zone


def test_every_command_beside_bad_jobs(place: Project) -> None:
    place.write({"jobs.d/good.yaml": jobs(GOOD)})
    place.write({"jobs.d/odd.yaml": jobs(ODD)})
    gone_zone(place)
    place.write({"jobs.d/refused.yaml": jobs(REFUSED)})

    place.cli("validate").check(2)
    listed = {job["name"] for job in place.cli("jobs", "--json").check().json}
    assert listed == {"good", "gone", *ODD}
    place.cli("tick").check()

    def submitted() -> bool:
        ticked = place.cli("tick", "--json").check()
        assert "job gone is left out, this host does not know its time zone" in ticked.stderr
        return "good" in {run["job"] for run in ticked.json["submitted"]}

    wait_until(submitted, 30.0, "the good job is submitted")
    shown = place.cli("upcoming", "--limit", "200", "--json").check()
    assert "job gone is left out" in shown.stderr
    assert "good" in {slot["job"] for slot in shown.json}
    place.cli("upcoming", "--simulate", "--from", "12:00", "--to", "12:10", "--job", "good").check()
    assert "next runs" in place.cli("plan").check(2).stdout
    health = place.cli("doctor", "--json").check(1).json
    assert any("job gone never runs" in check["what"] for check in health["checks"])
    assert {"good", "gone", *ODD} <= {row["job"] for row in place.cli("stats", "--json").check().json}
    assert 'runner_schedule_lag_seconds{job="good"}' in place.cli("metrics").check().stdout
    with place.start("scheduler") as scheduler:
        scheduler.wait_for("job gone is left out", 40.0)
        scheduler.wait_for("submitted good for", 40.0)
    with place.worker(concurrency=1):
        run_id = place.submit("good")
        assert place.wait_for_state(run_id, "SUCCESS", "FAILURE")["state"] == "SUCCESS"
    with place.start("web", "--port", "0") as web:
        url = web.wait_for(r"ready: (http://\S+)", 40.0)[1]
        with httpx.Client(base_url=url.partition("?")[0], timeout=60.0, follow_redirects=True) as client:
            assert client.get(url).status_code == 200
            for page in ("/", "/jobs", "/schedule", f"/schedule/{date.today()}", "/jobs/gone", "/jobs/good"):
                assert client.get(page).status_code == 200, page


DAMAGED: dict[str, Any] = {
    "no-number": {"slots": "zz"},
    "empty": {"slots": ""},
    "infinite": {"slots": "inf"},
    "not-a-number": {"slots": "nan"},
    "too-large": {"slots": "1e400"},
    "far-ahead": {"slots": "9e17"},
    "digits": {"slots": "9" * 5000},
    "far-back": {"slots": "-9e30"},
    "no-versions": {"schedules": "zz"},
    "no-times": {"schedules": "a b c d e"},
    "huge-times": {"schedules": "a 1 " + "9" * 400},
    "no-pause": {"paused": "zz"},
    "other-pause": {"paused": '{"by": 5}'},
    "no-success": {"succeeded": "zz"},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_records_of_a_job(place: Project, opened: OpenProject, name: str) -> None:
    place.write(
        {"jobs.d/odd.yaml": "jobs:\n  odd: {task: 'time:time', alert_if_no_success: 1h, schedule: {every: 1s}}\n"}
    )
    opened = OpenProject.open(str(place.path))
    now = round(time.time() * 1000)
    engine = Engine(opened, clock=lambda: now)
    engine.tick()
    for key, text in DAMAGED[name].items():
        opened.ledger.client.hset(f"{place.namespace}:{key}", "odd", text)
    found: set[str] = set()
    for _ in range(3):
        now += 2000
        found |= {job for job, _, _ in Engine(opened, clock=partial(int, now)).tick().submitted}
        assert "good" in found
    assert ("odd" in found) == ("pause" not in name)
    for words in (("tick",), ("upcoming",), ("jobs",), ("stats",), ("metrics",)):
        place.cli(*words).check()
    assert place.cli("doctor").exit_code in (0, 1)
    opened.ledger.close()


def test_a_job_whose_keys_are_of_another_type(place: Project, opened: OpenProject) -> None:
    place.write({"jobs.d/odd.yaml": "jobs:\n  odd: {task: 'time:time', schedule: {every: 1s}}\n"})
    opened = OpenProject.open(str(place.path))
    now = round(time.time() * 1000)
    Engine(opened, clock=lambda: now).tick()
    opened.ledger.client.set(f"{place.namespace}:job:odd:PENDING", "no sorted set")
    now += 2000
    ticked = Engine(opened, clock=lambda: now).tick()
    assert {job for job, _, _ in ticked.submitted} == {"good"}
    assert ticked.faults["odd"].startswith("its run cannot be submitted")
    opened.ledger.close()


def test_a_mark_that_is_no_time_is_replaced(place: Project, opened: OpenProject) -> None:
    ledger, now = opened.ledger, round(time.time() * 1000)
    key = f"{place.namespace}:slots"
    for text in ("zz", "9e17", str(now + 2 * FARTHEST_AHEAD)):
        ledger.client.hset(key, "good", text)
        marks = read_marks(ledger)
        assert marks.damaged == {"good"}
        assert marks.last["good"] == marks.now
        note(ledger, now, [Note("good", slot=now)])
        assert read_marks(ledger).last["good"] == now
    assert read_marks(ledger).damaged == frozenset()
