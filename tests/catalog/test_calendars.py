"""Calendars from dates, text files, iCalendar files, and countries; their problems; the last good state."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.catalog.calendar_sources import country, read_dates
from runner.catalog.calendars import Calendars
from runner.catalog.catalog import Catalog, load_catalog, load_files
from runner.catalog.icalendar_file import read_icalendar
from runner.catalog.live import LiveCatalog
from runner.host.trust import Trust
from runner.model.schedule import Schedule
from runner.schedule.coverage import CalendarFault, Coverage
from runner.schedule.timetable import Timetable, timetables
from runner.settings import load_settings


def covered(calendar: Coverage, first: str, days: int = 366) -> dict[str, str]:
    """Return the days that a calendar covers at noon in UTC, by date, and their names."""
    noons = (datetime.fromisoformat(f"{first}T12:00") + timedelta(days=number) for number in range(days))
    found = {noon: calendar.at(noon, timedelta(0)) for noon in noons}
    return {f"{noon:%Y-%m-%d}": cover.name for noon, cover in found.items() if cover.name is not None}


def left_out(calendar: Coverage, zone: str, begin: str, hours: int) -> list[str]:
    """Return the quarters of an hour, in UTC, that a schedule in ``zone`` leaves out because of a calendar."""
    schedule = Schedule(cron="*/15 * * * *", timezone=zone, excepted=("calendar:a",))
    after = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    until = after + timedelta(hours=hours)
    every = Timetable(Schedule(cron="*/15 * * * *", timezone=zone), "UTC").slots(after, until)
    kept = set(Timetable(schedule, "UTC", lambda _: calendar).slots(after, until))
    return [f"{slot:%dT%H:%M}" for slot in every if slot not in kept]


# -- text files


def test_a_text_file() -> None:
    text = (
        "\ufeff# closed\n\n2026-12-25 Christmas Day\r\n  2026-12-26\n2027-01-01, New Year\n2026-12-24  # half a day\n"
    )
    assert covered(read_dates(text.encode(), "days.txt"), "2026-12-01") == {
        "2026-12-24": "half a day",
        "2026-12-25": "Christmas Day",
        "2026-12-26": "",
        "2027-01-01": "New Year",
    }


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"2026-12-25\n25.12.2026\n", "days.txt line 2: '25.12.2026' is not a date"),
        (b"2026-02-30\n", "days.txt line 1: '2026-02-30' is not a date"),
        (b"2026-12-25x\n", "line 1: '2026-12-25x' is not a date"),
        (b"# nothing\n", "days.txt has no dates"),
        (b"", "days.txt has no dates"),
        (b"2026-12-25 No\xebl\n", "days.txt is not UTF-8"),
    ],
)
def test_text_files_that_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(CalendarFault, match=told.replace(".", r"\.")):
        read_dates(data, "days.txt")


# -- iCalendar


def ical(*events: str) -> bytes:
    texts = (f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\n{''.join(texts)}END:VCALENDAR\n".replace("\n", "\r\n").encode()


def test_events_of_whole_days() -> None:
    calendar = read_icalendar(
        ical(
            "UID:1\nDTSTART;VALUE=DATE:20261225\nSUMMARY:Christmas",
            "UID:2\nDTSTART;VALUE=DATE:20261230\nDTEND;VALUE=DATE:20270103\nSUMMARY:Between\\, the years",
            "UID:3\nDTSTART;VALUE=DATE:20261210\nDURATION:P2D\nSUMMARY:Fair",
            "UID:4\nDTSTART;VALUE=DATE:20261220\nSTATUS:CANCELLED\nSUMMARY:Party",
        ),
        "trading.ics",
    )
    between = dict.fromkeys(("2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02"), "Between, the years")
    assert covered(calendar, "2026-12-01") == {
        "2026-12-10": "Fair",
        "2026-12-11": "Fair",
        "2026-12-25": "Christmas",
        **between,
    }


def test_events_that_repeat() -> None:
    calendar = read_icalendar(
        ical(
            # The 31st of a month until the end of the year, but for March; an extra day; and one that was moved.
            "UID:1\nDTSTART;VALUE=DATE:20260131\nRRULE:FREQ=MONTHLY;BYMONTHDAY=31;UNTIL=20261231T000000Z\n"
            "EXDATE;VALUE=DATE:20260331\nRDATE;VALUE=DATE:20260615\nSUMMARY:End",
            "UID:1\nRECURRENCE-ID;VALUE=DATE:20260531\nDTSTART;VALUE=DATE:20260529\nSUMMARY:End, moved",
            "UID:1\nRECURRENCE-ID;VALUE=DATE:20260831\nDTSTART;VALUE=DATE:20260831\nSTATUS:CANCELLED\nSUMMARY:End",
            "UID:2\nDTSTART;VALUE=DATE:20000704\nRRULE:FREQ=YEARLY\nSUMMARY:Fourth",
        ),
        "days.ics",
    )
    assert covered(calendar, "2026-01-01", 730) == {
        "2026-01-31": "End",
        "2026-05-29": "End, moved",
        "2026-06-15": "End",
        "2026-07-04": "Fourth",
        "2026-07-31": "End",
        "2026-10-31": "End",
        "2026-12-31": "End",
        "2027-07-04": "Fourth",
    }


def test_events_with_times_cover_the_time_between_them() -> None:
    # Wednesdays from 13:00 to 14:00 in New York, across the change of its clock; once for everybody at 9 by the clock.
    calendar = read_icalendar(
        ical(
            "UID:1\nDTSTART;TZID=America/New_York:20260304T130000\nDTEND;TZID=America/New_York:20260304T140000\n"
            "RRULE:FREQ=WEEKLY;COUNT=2\nSUMMARY:Early close",
            "UID:2\nDTSTART:20260305T090000\nDURATION:PT30M\nSUMMARY:Floating",
            "UID:3\nDTSTART:20260305T120000Z\nDTEND:20260305T121500Z\nSUMMARY:UTC",
            "UID:4\nDTSTART:20260305T150000Z\nSUMMARY:A moment",
        ),
        "times.ics",
    )
    close = ["04T18:00", "04T18:15", "04T18:30", "04T18:45"]
    assert left_out(calendar, "Europe/Berlin", "2026-03-04T00:00", 24) == close
    assert left_out(calendar, "Europe/Berlin", "2026-03-05T00:00", 24) == ["05T08:00", "05T08:15", "05T12:00"]
    assert left_out(calendar, "Asia/Tokyo", "2026-03-04T22:00", 24) == ["05T00:00", "05T00:15", "05T12:00"]
    assert left_out(calendar, "UTC", "2026-03-11T00:00", 24) == ["11T17:00", "11T17:15", "11T17:30", "11T17:45"]
    assert left_out(calendar, "UTC", "2026-03-18T00:00", 24) == []


def test_an_event_across_the_new_year_elsewhere() -> None:
    calendar = read_icalendar(ical("UID:1\nDTSTART:20261231T220000Z\nDTEND:20270101T020000Z\nSUMMARY:Party"), "a.ics")
    for zone in ("Pacific/Kiritimati", "UTC", "Pacific/Honolulu"):
        assert len(left_out(calendar, zone, "2026-12-31T00:00", 48)) == 16


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "bad.ics has no events"),
        (b"2026-12-25\n", "bad.ics does not end with END:VCALENDAR"),
        (ical("DTSTART:20261225")[:-20], "bad.ics does not end with END:VCALENDAR, so it is incomplete"),
        (b"\xff\xfe\x00\nEND:VCALENDAR", "bad.ics is not in the iCalendar format"),
        (ical(), "bad.ics has no events"),
        (ical("SUMMARY:None"), "bad.ics: event 'None' cannot be read"),
        (ical("DTSTART:soon\nSUMMARY:Soon"), "bad.ics: event 'Soon' cannot be read"),
        (ical("DTSTART:20261225\nRRULE:FREQ=NEVER\nSUMMARY:Rule"), "bad.ics: event 'Rule' cannot be read"),
        (ical("DTSTART:20261225T000000Z\nRRULE:FREQ=SECONDLY\nSUMMARY:Often"), "it repeats secondly, at most daily"),
        (ical("DTSTART;TZID=Nowhere/Here:20261225T000000\nSUMMARY:Far"), "the time zone Nowhere/Here is not known"),
    ],
)
def test_icalendar_files_that_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(CalendarFault, match=told.replace(".", r"\.")):
        read_icalendar(data, "bad.ics")


# -- countries


def test_countries() -> None:
    bavaria = covered(country("DE-BY"), "2026-01-01")
    assert {"2026-01-06", "2026-12-25", "2026-12-26", "2026-11-01"} <= set(bavaria)
    berlin = covered(country("DE-BE"), "2026-01-01")
    assert "2026-01-06" not in berlin
    assert "2026-03-08" in berlin
    assert "2027-07-05" in covered(country("US"), "2026-01-01", 730)  # the fourth is a Sunday


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("XX", "the package holidays does not know XX"),
        ("DE-ZZ", "the package holidays does not know ZZ in DE, write DE, or one of its parts: BB, BE"),
    ],
)
def test_countries_that_are_refused(code: str, told: str) -> None:
    with pytest.raises(CalendarFault, match=told):
        country(code)


@pytest.mark.parametrize(
    ("package", "source"), [("holidays", "holidays:DE"), ("icalendar", "file:trading.ics")], ids=["holidays", "ics"]
)
def test_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, source: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "trading.ics").write_bytes(ical("UID:1\nDTSTART;VALUE=DATE:20261225"))
    with pytest.raises(CalendarFault, match=f"{package} is not installed.*pip install .celery-runner.calendars"):
        Calendars({"a": source}, tmp_path)("a")


# -- a project


JOBS = """\
jobs:
  nightly: {task: "a:b", schedule: {cron: "0 2 * * *", except: ["calendar:days"]}}
  other: {task: "a:b", schedule: "0 2 * * *"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "jobs.d" / "jobs.yaml").write_text(JOBS)
    (tmp_path / "runner.yaml").write_text("namespace: a\ncalendars:\n  days: file:days.txt\n")
    (tmp_path / "days.txt").write_text("2026-12-25 Christmas\n")
    return tmp_path


def nightly(catalog: Catalog) -> list[str]:
    """Return the days from 24 December on which the job is run."""
    [table] = timetables(catalog.jobs["nightly"].schedule, "UTC", catalog.calendars)
    begin = datetime(2026, 12, 24, tzinfo=UTC)
    return [f"{slot:%d}" for slot in table.slots(begin, begin + timedelta(days=3))]


def test_a_calendar_that_nobody_declares(project: Path) -> None:
    (project / "runner.yaml").write_text("namespace: a\ncalendars: {dyas: [2026-12-25]}\n")
    settings = load_settings(project)
    for cached in (True, True, False):
        catalog = load_catalog(settings, use_cache=cached)
        [problem] = catalog.problems
        message = "jobs.nightly.schedule.except[0]: runner.yaml has no calendar days, did you mean calendar:dyas?"
        assert str(problem) == f"jobs.d/jobs.yaml:2:65: {message}"
        assert (list(catalog.jobs), list(catalog.broken)) == (["other"], ["nightly"])
    assert load_files([project / "jobs.d"], base=project).problems == ()


@pytest.mark.parametrize(
    ("schedule", "place"),
    [
        ("[{cron: '@daily', except: [calendar:days]}]", "2:63: jobs.nightly.schedule[0].except[0]"),
        ("[{every: 1h}, {every: 2h, only: [calendar:days]}]", "2:69: jobs.nightly.schedule[1].only[0]"),
    ],
)
def test_a_calendar_that_nobody_declares_in_a_list_of_schedules(project: Path, schedule: str, place: str) -> None:
    (project / "runner.yaml").write_text("namespace: a\n")
    (project / "jobs.d/jobs.yaml").write_text(f"jobs:\n  nightly: {{task: 'a:b', schedule: {schedule}}}\n")
    [problem] = load_catalog(load_settings(project)).problems
    assert str(problem).startswith(f"jobs.d/jobs.yaml:{place}: runner.yaml has no calendar days")


def test_a_file_that_cannot_be_read_is_told_where_it_is_named(project: Path) -> None:
    (project / "days.txt").unlink()
    catalog = load_catalog(load_settings(project))
    assert catalog.problems == ()
    [problem] = catalog.all_problems()
    assert (problem.file, problem.line, problem.column, problem.path) == ("runner.yaml", 3, 9, "calendars.days")
    assert f"{project / 'days.txt'} cannot be read: No such file or directory" in problem.message
    assert problem.remedy == "correct the path or its mode"
    with pytest.raises(CalendarFault, match="its calendar days cannot be read"):
        nightly(catalog)


@pytest.mark.parametrize("kind", ["folder", "pipe", "open", "large"])
def test_files_that_are_not_read(project: Path, kind: str) -> None:
    path = project / "days.txt"
    if kind == "open":
        path.chmod(0o666)
    elif kind == "large":
        path.write_text("# much\n" * 1_200_000)
    else:
        path.unlink()
        path.mkdir() if kind == "folder" else os.mkfifo(path)
    message = {"open": "anybody may write to", "large": "larger than 8 MiB"}.get(kind, "it is not a regular file")
    [problem] = load_catalog(load_settings(project)).all_problems()
    assert message in problem.message


def test_a_file_of_a_stranger_is_not_read_in_a_project_that_was_found(project: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(project / "days.txt", 12345, 12345)
    with pytest.raises(CalendarFault, match=r"belongs to .*12345"):
        Calendars({"days": "file:days.txt"}, project, Trust(found=True))("days")
    assert covered(Calendars({"days": "file:days.txt"}, project)("days"), "2026-12-01") == {"2026-12-25": "Christmas"}


def test_the_fingerprint_changes_with_the_file_and_reads_nothing(project: Path) -> None:
    first = load_catalog(load_settings(project))
    again = load_catalog(load_settings(project))
    assert first.same_as(again)
    (project / "days.txt").write_text("nothing of a date\n")
    changed = load_catalog(load_settings(project))
    assert first.calendars.fingerprint != changed.calendars.fingerprint
    assert not first.same_as(changed)


def test_the_last_good_state_stays_in_force(project: Path) -> None:
    settings = load_settings(project)
    live = LiveCatalog(settings, load_catalog(settings))
    assert nightly(live.catalog) == ["24", "26"]
    live.look()
    assert not live.look()
    (project / "days.txt").write_text("2026-12-24\n2026-12-2\n")
    assert live.look()
    assert nightly(live.catalog) == ["24", "26"]
    assert "line 2: '2026-12-2' is not a date" in live.catalog.calendars.read_all()["days"]
    assert not live.look()
    (project / "days.txt").unlink()
    assert live.look()
    assert nightly(live.catalog) == ["24", "26"]
    (project / "days.txt").write_text("2026-12-24\n")
    assert live.look()
    assert nightly(live.catalog) == ["25", "26"]
    assert live.catalog.calendars.read_all() == {}


def test_other_settings(project: Path) -> None:
    settings = load_settings(project)
    live = LiveCatalog(settings, load_catalog(settings))
    assert nightly(live.catalog) == ["24", "26"]
    (project / "runner.yaml").write_text("namespace: a\ncalendars: {days: [2026-12-26]}\n")
    live.follow(load_settings(project))
    live.look()
    assert nightly(live.catalog) == ["24", "25"]
    (project / "runner.yaml").write_text("namespace: a\n")
    live.follow(load_settings(project))
    live.look()
    # As with any job whose file has problems, what was before goes on; its calendar is gone.
    assert [problem.path for problem in live.catalog.problems] == ["jobs.nightly.schedule.except[0]"]
    with pytest.raises(CalendarFault, match="has no calendar days"):
        nightly(live.catalog)


def test_environment_files_are_merged(project: Path) -> None:
    (project / "runner.prod.yaml").write_text("calendars: {more: [2026-12-31], days: [2026-12-24]}\n")
    settings = load_settings(project, environ={"RUNNER_ENV": "prod"})
    assert dict(settings.calendars) == {"days": ("2026-12-24",), "more": ("2026-12-31",)}
