"""Past slots in the schedule: the runs of these, those that had none, and those from before the schedule existed."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from runner.ledger.slots import Note, note
from runner.schedule.timetable import milliseconds
from runner.web.calendar import Calendar
from runner.web.slot_runs import ShownDay, shown_days, shown_hours
from tests.support.project import write_project
from tests.support.servers import Server

JOBS: dict[str, Any] = {
    "daily": {"task": "a:b", "schedule": "30 2 * * *"},
    "newer": {"task": "a:b", "schedule": "0 3 * * *"},
    "often": {"task": "a:b", "schedule": "*/30 8-18 * * *"},
    "minutely": {"task": "a:b", "schedule": "* * * * *"},
}
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def shown(day: ShownDay) -> list[tuple[str, str | None, bool]]:
    return [(run.due.job, run.state, run.missing) for run in day.runs]


def test_past_slots_have_their_runs_and_none_from_before_their_schedule(tmp_path: Path, redis_server: Server) -> None:
    project = write_project(tmp_path / "p", redis_server.url, JOBS, {}, {}, f"w{uuid.uuid4().hex[:10]}")
    ledger, calendar = project.ledger(), Calendar(project.catalog, "UTC")
    project.cli("backfill", "daily", "--from", "2026-05-01", "--to", "2026-05-02").check()
    begin = datetime(2026, 4, 20, tzinfo=UTC)
    note(ledger, milliseconds(begin), [Note("daily", "d"), Note("often", "-")])
    note(ledger, milliseconds(datetime(2026, 5, 2, 12, tzinfo=UTC)), [Note("newer", "n")])
    days = shown_days(ledger, [calendar.plan(date(2026, 5, day)) for day in range(1, 6)], NOW, 40)
    assert [shown(day) for day in days] == [
        [("daily", "PENDING", False)],
        [("daily", "PENDING", False)],
        [("daily", None, True), ("newer", None, True)],
        [("daily", None, True), ("newer", None, True)],
        [("daily", None, False), ("newer", None, False)],
    ]
    [run, *_] = days[0].runs
    assert run.run is not None
    document = project.document(run.run)
    assert (document["job"], document["slot"]) == ("daily", "2026-05-01T02:30:00.000Z")
    # Frequent jobs that no scheduler has served have no past either.
    assert [[series.job for series in day.series] for day in days] == [[]] * 3 + [["often", "minutely"]] * 2
    assert days[4].series[0].text == "every 30 min, 08:00 to 18:30"
    # A day lists the first runs, and counts the others.
    [cut] = shown_days(ledger, [calendar.plan(date(2026, 5, 3))], NOW, 1)
    assert (shown(cut), cut.more) == ([("daily", None, True)], 1)


def test_a_series_counts_the_runs_of_its_day_and_its_hour(tmp_path: Path, redis_server: Server) -> None:
    project = write_project(tmp_path / "p", redis_server.url, JOBS, {}, {}, f"w{uuid.uuid4().hex[:10]}")
    ledger, calendar = project.ledger(), Calendar(project.catalog, "UTC")
    for _ in range(2):
        project.cli("submit", "minutely").check()
    run_id = project.cli("submit", "minutely").check().id
    project.cli("revoke", run_id).check()
    submitted = datetime.fromisoformat(project.document(run_id)["submitted_at"])
    note(ledger, milliseconds(submitted - timedelta(days=2)), [Note("minutely", "m")])
    counts = {"PENDING": 2, "REVOKED": 1}
    now = submitted + timedelta(seconds=1)
    [before, day] = shown_days(
        ledger, [calendar.plan(submitted.date() - timedelta(days=number)) for number in (1, 0)], now, 40
    )
    assert [(series.job, series.counts) for series in before.series] == [("minutely", {})]
    assert counts in [series.counts for series in day.series if series.job == "minutely"]
    hours = shown_hours(ledger, calendar.hours(submitted.date()), now, calendar.zone, 4)
    assert len(hours) == 24
    [found] = [job for job in hours[submitted.replace(minute=0, second=0, microsecond=0)] if job.job == "minutely"]
    assert found.series is not None
    assert (found.series.text, found.series.counts) == ("every minute", counts)
