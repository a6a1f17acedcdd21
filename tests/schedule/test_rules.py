"""Slots with ``except`` and ``only``, against a slow and obvious reference and against tables made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.model.schedule import Schedule
from runner.model.slot_rule import WEEKDAYS, SlotRules
from runner.schedule.coverage import Calendar, CalendarFault, Coverage, Days, Span, Year
from runner.schedule.due import due_slots
from runner.schedule.rules import OUTSIDE, no_calendars
from runner.schedule.timetable import Timetable, digest_of, next_slot, skipped

MINUTE = timedelta(minutes=1)
HOLIDAYS = {"2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-10-04", "2026-04-05"}
# Each zone with the beginning (UTC) of the five days around both of its changes of the clock in 2026.
CHANGES = {
    "Europe/Berlin": ("2026-03-27", "2026-10-23"),  # an hour, on Sundays at 01:00Z
    "America/New_York": ("2026-03-06", "2026-10-30"),  # an hour, on Sundays at 2:00 by the clock
    "Australia/Lord_Howe": ("2026-04-03", "2026-10-02"),  # half an hour, on Sundays at 2:00 by the clock
}
RULES: list[tuple[list[Any], list[Any]]] = [
    (["2026-03-29", "2026-10-25", "2026-11-01"], []),
    ([{"from": "22:00", "to": "06:00"}], []),
    ([{"from": "22:00", "to": "06:00", "days": ["sat"]}], []),
    ([{"from": "01:30", "to": "02:30"}], []),
    ([], [{"from": "01:30", "to": "02:30"}]),
    ([], [{"days": ["sat", "sun"]}]),
    ([], [{"from": "23:00", "to": "03:15", "days": ["sat", "mon"]}, "2026-03-28"]),
    (["calendar:holidays"], []),
    ([], ["calendar:holidays"]),
    (["calendar:holidays", {"from": "12:00", "to": "13:00"}], [{"from": "09:00", "to": "24:00"}]),
]


def calendars(name: str) -> Coverage:
    assert name == "holidays"
    return Days({date.fromisoformat(text): f"holiday {text}" for text in HOLIDAYS})


def table(zone: str, excepted: Sequence[Any] = (), only: Sequence[Any] = (), **when: Any) -> Timetable:
    def refuse(path: object, message: str, *, on_key: bool = False) -> None:
        raise AssertionError(message)

    rules = {"excepted": SlotRules().read(list(excepted), (), refuse), "only": SlotRules().read(list(only), (), refuse)}
    return Timetable(Schedule(timezone=zone, **(when or {"cron": "*/15 * * * *"}), **rules), "UTC", calendars)


# -- the reference: looks at each minute, and at what the clock on the wall shows then


def covered(rule: Any, local: datetime) -> bool:
    today, yesterday = (WEEKDAYS[(local.weekday() - back) % 7] for back in (0, 1))
    if rule == "calendar:holidays":
        return f"{local:%Y-%m-%d}" in HOLIDAYS
    if not isinstance(rule, Mapping):
        return bool(f"{local:%Y-%m-%d}" == rule)
    shown, begin, end = f"{local:%H:%M}", rule.get("from", "00:00"), rule.get("to", "24:00")
    days = rule.get("days") or WEEKDAYS
    if begin < end:
        return bool(begin <= shown < end and today in days)
    return bool((shown >= begin and today in days) or (shown < end and yesterday in days))


def reference(
    zone: str, begin: datetime, end: datetime, excepted: Sequence[Any], only: Sequence[Any]
) -> Iterator[tuple[datetime, bool]]:
    """Yield each quarter of an hour by the wall clock with ``begin < moment <= end``, and whether it is run."""
    moment = begin + MINUTE
    while moment <= end:
        local = moment.astimezone(ZoneInfo(zone))
        if local.minute % 15 == 0:
            left_out = any(covered(rule, local) for rule in excepted)
            yield moment, not left_out and (not only or any(covered(rule, local) for rule in only))
        moment += MINUTE


def check_against_reference(
    zone: str, begin: datetime, end: datetime, excepted: Sequence[Any], only: Sequence[Any]
) -> None:
    expected = list(reference(zone, begin, end, excepted, only))
    found = table(zone, excepted, only)
    assert list(found.slots(begin, end)) == [moment for moment, runs in expected if runs]
    assert list(found.slots(begin, end)) == [
        slot
        for hour in range(5 * 24)
        for slot in found.slots(begin + hour * 60 * MINUTE, begin + (hour + 1) * 60 * MINUTE)
    ]
    stretches = list(found.skipped(begin, end))
    for moment, runs in expected:
        within = [stretch for stretch in stretches if stretch.slot <= moment < stretch.until]
        assert len(within) == (0 if runs else 1), (moment, within)
    assert {stretch.slot for stretch in stretches} <= {moment for moment, runs in expected if not runs}
    for one, other in pairwise(stretches):
        assert one.until <= other.slot


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize(("zone", "day"), [(zone, day) for zone, days in CHANGES.items() for day in days])
def test_slots_around_a_change_of_the_clock(zone: str, day: str, rules: tuple[list[Any], list[Any]]) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    check_against_reference(zone, begin, begin + timedelta(days=5), *rules)


TIMES = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
WINDOW = st.fixed_dictionaries(
    {"from": TIMES, "to": TIMES, "days": st.lists(st.sampled_from(WEEKDAYS), unique=True, max_size=3)}
).filter(lambda window: window["from"] != window["to"])
DATES = st.integers(0, 6).map(lambda days: f"{date(2026, 3, 5) + timedelta(days=days)}")
LISTS = st.lists(st.one_of(WINDOW, DATES, st.just("calendar:holidays")), max_size=3)


@given(st.sampled_from([*CHANGES, "Asia/Kathmandu", "Pacific/Apia"]), LISTS, LISTS)
@settings(max_examples=60, deadline=None)
def test_any_rules(zone: str, excepted: list[Any], only: list[Any]) -> None:
    begin = datetime(2026, 3, 6, tzinfo=UTC)
    check_against_reference(zone, begin, begin + timedelta(days=5), excepted, only)


# -- tables made by hand: fixed times, which are run once where the clock skips or repeats them

# Zone, expression, except, only, from (UTC), and the slots of the next four days (UTC).
BY_HAND: list[tuple[str, str, list[Any], list[Any], str, list[str]]] = [
    # 2:30 is skipped on 29 March, and run at 3:00 of that day, 01:00Z: still the 29th, and not before 3:00.
    ("Europe/Berlin", "30 2 * * *", ["2026-03-29"], [], "2026-03-27T12:00", ["28T01:30", "30T00:30", "31T00:30"]),
    (
        "Europe/Berlin",
        "30 2 * * *",
        [{"from": "02:00", "to": "03:00", "days": ["sun"]}],
        [],
        "2026-03-27T12:00",
        ["28T01:30", "29T01:00", "30T00:30", "31T00:30"],
    ),
    ("Europe/Berlin", "30 2 * * *", [], [{"from": "03:00", "to": "03:01"}], "2026-03-27T12:00", ["29T01:00"]),
    # 2:30 comes twice on 25 October, and is run at the first.
    ("Europe/Berlin", "30 2 * * *", [], ["2026-10-25"], "2026-10-23T12:00", ["25T00:30"]),
    ("Europe/Berlin", "@daily", [{"days": ["sun"]}], [], "2026-10-23T12:00", ["23T22:00", "25T23:00", "26T23:00"]),
    ("America/New_York", "30 2 * * *", ["2026-03-08"], [], "2026-03-06T12:00", ["07T07:30", "09T06:30", "10T06:30"]),
    ("America/New_York", "30 1 * * *", [], ["2026-11-01"], "2026-10-30T12:00", ["01T05:30"]),
    # The evening of 31 October in New York is the first of November in UTC.
    ("America/New_York", "0 22 * * *", ["2026-10-31"], [], "2026-10-30T12:00", ["31T02:00", "02T03:00", "03T03:00"]),
    # 2:00 becomes 2:30 on 4 October, and 2:00 becomes 1:30 on 5 April.
    ("Australia/Lord_Howe", "15 2 * * *", ["2026-10-04"], [], "2026-10-02T00:00", ["02T15:45", "04T15:15", "05T15:15"]),
    ("Australia/Lord_Howe", "45 1 * * *", [], ["2026-04-05"], "2026-04-03T00:00", ["04T14:45"]),
]


@pytest.mark.parametrize(("zone", "cron", "excepted", "only", "begin", "expected"), BY_HAND)
def test_fixed_times(
    zone: str, cron: str, excepted: list[Any], only: list[Any], begin: str, expected: list[str]
) -> None:
    after = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    found = table(zone, excepted, only, cron=cron).slots(after, after + timedelta(days=4))
    assert [f"{slot:%dT%H:%M}" for slot in found] == expected


def test_an_interval_is_counted_in_utc_and_left_out_by_the_wall_clock() -> None:
    found = table("Europe/Berlin", [{"from": "00:00", "to": "12:00"}], every=21600.0)
    begin = datetime(2026, 10, 24, tzinfo=UTC)
    # 02:00, 08:00, 14:00, 20:00 by the clock, and an hour less from the 25th on.
    assert [f"{slot:%dT%H}" for slot in found.slots(begin, begin + timedelta(days=2))] == [
        "24T12",
        "24T18",
        "25T12",
        "25T18",
    ]


# -- reasons, and what is left out


def test_reasons() -> None:
    begin, end = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    found = table(
        "UTC", ["calendar:holidays", "2026-03-28", {"from": "22:00", "to": "23:00", "days": ["mon"]}], cron="30 * * * *"
    )
    assert [(f"{skip.slot:%dT%H:%M}", f"{skip.until:%dT%H:%M}", skip.reason) for skip in found.skipped(begin, end)] == [
        ("28T00:30", "29T00:00", "except 2026-03-28"),
        ("29T00:30", "30T00:00", "except calendar:holidays: holiday 2026-03-29"),
        ("30T22:30", "30T23:00", "except 22:00 to 23:00 on mon"),
    ]
    outside = table("UTC", only=[{"days": ["mon"]}], cron="0 12 * * *")
    [stretch] = outside.skipped(begin, end)
    assert (stretch.reason, stretch.until) == (OUTSIDE, datetime(2026, 3, 30, tzinfo=UTC))


def test_what_another_schedule_runs_is_not_left_out() -> None:
    begin, end = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    weekday = table("UTC", ["calendar:holidays"], cron="0 2 * * *")
    holiday = table("UTC", only=["calendar:holidays"], cron="0 2 * * *")
    assert list(skipped((weekday, holiday), begin, end)) == []
    assert [skip.slot.day for skip in skipped((weekday,), begin, end)] == [29]


def test_a_schedule_that_is_over_ends_at_once() -> None:
    over = table("Europe/Berlin", only=["2020-01-01"], cron="* * * * * *")
    assert next_slot((over,), datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert over.last(datetime(2020, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert next_slot((over,), datetime(2019, 1, 1, tzinfo=UTC)) == datetime(2019, 12, 31, 23, tzinfo=UTC)


def test_what_is_left_out_is_not_caught_up_with() -> None:
    nightly = table("UTC", ["2026-03-29"], cron="0 2 * * *")
    after, now = datetime(2026, 3, 28, 3, tzinfo=UTC), datetime(2026, 3, 29, 3, tzinfo=UTC)
    assert due_slots("a", [nightly], after, now).run == ()
    assert next_slot((nightly,), after) == datetime(2026, 3, 30, 2, tzinfo=UTC)


def test_spans_of_a_calendar() -> None:
    def read(year: int) -> Year:
        aware = Span(datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC), "works")
        floating = Span(datetime(2026, 3, 30, 9), datetime(2026, 3, 30, 10), "meeting")
        return Year({}, (aware, floating)) if year == 2026 else Year({})

    schedule = Schedule(cron="*/30 * * * *", timezone="Europe/Berlin", excepted=("calendar:a",))
    found = Timetable(schedule, "UTC", lambda _: Calendar(read))
    begin, end = datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    assert [(f"{skip.slot:%dT%H:%M}", f"{skip.until:%dT%H:%M}", skip.reason) for skip in found.skipped(begin, end)] == [
        ("29T00:30", "29T01:30", "except calendar:a: works"),
        ("30T07:00", "30T08:00", "except calendar:a: meeting"),
    ]


def test_a_calendar_that_is_not_there_leaves_nobody_guessing() -> None:
    with pytest.raises(CalendarFault, match="there is no calendar gone"):
        Timetable(Schedule(cron="@daily", excepted=("calendar:gone",)), "UTC", no_calendars)


def test_rules_make_another_schedule() -> None:
    plain, ruled = Schedule(cron="@daily"), Schedule(cron="@daily", only=("2026-12-24",))
    assert digest_of((plain,), "UTC") != digest_of((ruled,), "UTC")
