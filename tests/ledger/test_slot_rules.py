"""Slots that ``except``, ``only``, and calendars leave out make no run, whoever ticks, and whatever calendars do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.schedules import Place
from tests.support.bench import Bench

CALENDARS = "timezone: Europe/Berlin\ncalendars: {closed: file:closed.txt}\n"


@pytest.fixture
def place(bench: Bench, tmp_path: Path) -> Place:
    return host(Place(tmp_path / "a", bench.ledger.settings, bench.ledger))


def host(place: Place, text: str = "2026-01-02 Inventory\n") -> Place:
    place.settings_text = CALENDARS
    close(place, text)
    return place


def close(place: Place, text: str) -> None:
    (place.folder / "closed.txt").write_text(text)


def test_what_is_left_out_makes_no_run_and_is_not_caught_up_with(place: Place) -> None:
    place.write(
        "nightly: {schedule: {cron: '0 2 * * *', except: ['calendar:closed'], catchup: all, catchup_window: 20d}}"
    )
    assert place.tick("2026-01-01T00:00") == []
    assert place.tick("2026-01-01T01:00") == ["nightly 01T01:00"]
    assert place.tick("2026-01-02T01:00") == []
    assert place.tick("2026-01-02T01:01") == []
    assert place.tick("2026-01-04T03:00") == ["nightly 03T01:00", "nightly 04T01:00"]


def test_a_window_around_a_change_of_the_clock(place: Place) -> None:
    place.write('often: {schedule: {cron: "*/30 * * * *", only: [{from: "01:30", to: "03:30"}], <<: *all}}')
    assert place.tick("2026-03-28T12:00") == []
    # Two o'clock becomes three: half an hour on either side.
    assert place.tick("2026-03-29T12:00") == ["often 29T00:30", "often 29T01:00"]
    place.now += 1
    place.write('again: {schedule: {cron: "*/30 * * * *", only: [{from: "01:30", to: "03:30"}], <<: *all}}')
    assert place.tick("2026-10-24T12:00") == []
    # Three o'clock becomes two: an hour more.
    assert place.tick("2026-10-25T12:00") == [f"again 2{slot}" for slot in OCTOBER]


OCTOBER = ["4T23:30", "5T00:00", "5T00:30", "5T01:00", "5T01:30", "5T02:00"]


def test_hosts_with_different_calendars_make_one_run_for_a_slot(place: Place, tmp_path: Path) -> None:
    other = host(place.another(tmp_path / "b"), "2026-01-03\n")
    for checkout in (place, other):
        checkout.write("daily: {schedule: {cron: '0 2 * * *', except: ['calendar:closed'], <<: *all}}")
        checkout.tick("2026-01-01T00:00")
    made = [checkout.tick(f"2026-01-0{day}T01:00") for day in range(1, 5) for checkout in (place, other)]
    assert sorted(slot for slots in made for slot in slots) == [f"daily 0{day}T01:00" for day in range(1, 5)]
    assert len(place.slots("daily")) == 4


def test_a_calendar_that_breaks_keeps_its_jobs_and_no_others_from_running(place: Place) -> None:
    place.write(
        """
        nightly: {schedule: {cron: '0 2 * * *', except: ['calendar:closed']}}
        other: {schedule: '0 2 * * *'}
        """
    )
    place.tick("2026-01-01T00:00")
    place.tick("2026-01-01T01:00")
    (place.folder / "closed.txt").unlink()
    assert place.tick("2026-01-03T01:00") == ["other 03T01:00"]
    ticked = place.engine().tick()
    assert list(ticked.faults) == ["nightly"]
    assert "its calendar closed cannot be read" in ticked.faults["nightly"]
    assert list(place.engine().behind().faults) == ["nightly"]
    close(place, "2026-01-02\n")
    assert place.tick("2026-01-03T01:05") == ["nightly 03T01:00"]
    assert place.tick("2026-01-03T01:06") == []


def test_a_day_that_is_open_again_is_caught_up_with(place: Place) -> None:
    place.write("nightly: {schedule: {cron: '0 2 * * *', except: ['calendar:closed']}}")
    place.tick("2026-01-01T00:00")
    assert place.tick("2026-01-01T01:00") == ["nightly 01T01:00"]
    assert place.tick("2026-01-02T01:00") == []
    close(place, "2026-01-06\n")
    assert place.tick("2026-01-02T08:00") == ["nightly 02T01:00"]
    assert place.tick("2026-01-02T08:01") == []


def test_a_day_that_is_closed_late_has_its_run_and_the_next_one_not(place: Place) -> None:
    place.write("nightly: {schedule: {cron: '0 2 * * *', except: ['calendar:closed']}}")
    place.tick("2026-01-02T12:00")
    close(place, "2026-01-03\n2026-01-05\n")
    assert place.tick("2026-01-03T01:00") == []
    assert place.tick("2026-01-04T01:00") == ["nightly 04T01:00"]
    close(place, "2026-01-04\n2026-01-05\n")
    assert place.tick("2026-01-05T01:00") == []
    assert [f"{slot:%d}" for slot in place.slots("nightly")] == ["04"]


def test_other_rules_are_another_schedule(place: Place) -> None:
    place.write("nightly: {schedule: {cron: '0 2 * * *', except: [2026-01-02]}}")
    place.tick("2026-01-01T00:00")
    assert place.tick("2026-01-01T01:00") == ["nightly 01T01:00"]
    assert place.tick("2026-01-02T01:00") == []
    place.write("nightly: {schedule: {cron: '0 2 * * *', except: [2026-01-05]}}")
    assert place.tick("2026-01-02T08:00") == []
    assert place.tick("2026-01-03T01:00") == ["nightly 03T01:00"]
