"""Slots against tables computed by hand, and their laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runner.model.schedule import Schedule
from runner.schedule.cron import BadExpression, Cron
from runner.schedule.due import MOST_AT_ONCE, due_slots
from runner.schedule.timetable import Timetable, digest_of, merged, next_slot


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Zone, day, what the clock does there, expression, and the instants (UTC) from that day's noon before to the noon
# after the next day. Taken from the zones' laws with pencil and paper, not from a library.
CHANGES = [
    # 29 March 2026, 01:00Z: 02:00 becomes 03:00.
    ("Europe/Berlin", "2026-03-28T12:00", "30 2 * * *", ["29T01:00", "30T00:30"]),
    ("Europe/Berlin", "2026-03-28T12:00", "0,30 2 * * *", ["29T01:00", "30T00:00", "30T00:30"]),
    ("Europe/Berlin", "2026-03-28T12:00", "0 2,3 * * *", ["29T01:00", "30T00:00", "30T01:00"]),
    ("Europe/Berlin", "2026-03-28T12:00", "*/30 2 * * *", ["30T00:00", "30T00:30"]),
    ("Europe/Berlin", "2026-03-28T12:00", "0 */12 * * *", ["28T23:00", "29T10:00", "29T22:00", "30T10:00"]),
    ("Europe/Berlin", "2026-03-28T12:00", "0 0 2 * * *", ["29T01:00", "30T00:00"]),
    ("Europe/Berlin", "2026-03-28T12:00", "@daily", ["28T23:00", "29T22:00"]),
    # 25 October 2026, 01:00Z: 03:00 becomes 02:00.
    ("Europe/Berlin", "2026-10-24T12:00", "30 2 * * *", ["25T00:30", "26T01:30"]),
    ("Europe/Berlin", "2026-10-24T12:00", "0 3 * * *", ["25T02:00", "26T02:00"]),
    (
        "Europe/Berlin",
        "2026-10-24T12:00",
        "*/30 2 * * *",
        ["25T00:00", "25T00:30", "25T01:00", "25T01:30", "26T01:00", "26T01:30"],
    ),
    # 8 March 2026, 07:00Z: 02:00 becomes 03:00.
    ("America/New_York", "2026-03-07T12:00", "30 2 * * *", ["08T07:00", "09T06:30"]),
    ("America/New_York", "2026-03-07T12:00", "*/30 2 * * *", ["09T06:00", "09T06:30"]),
    (
        "America/New_York",
        "2026-03-07T12:00",
        "0 1-3 * * *",
        ["08T06:00", "08T07:00", "09T05:00", "09T06:00", "09T07:00"],
    ),
    # 1 November 2026, 06:00Z: 02:00 becomes 01:00.
    ("America/New_York", "2026-10-31T12:00", "30 1 * * *", ["01T05:30", "02T06:30"]),
    (
        "America/New_York",
        "2026-10-31T12:00",
        "*/30 1 * * *",
        ["01T05:00", "01T05:30", "01T06:00", "01T06:30", "02T06:00", "02T06:30"],
    ),
    # 4 October 2026, 15:30Z of the day before: 02:00 becomes 02:30.
    ("Australia/Lord_Howe", "2026-10-03T12:00", "15 2 * * *", ["03T15:30", "04T15:15"]),
    ("Australia/Lord_Howe", "2026-10-03T12:00", "45 2 * * *", ["03T15:45", "04T15:45"]),
    ("Australia/Lord_Howe", "2026-10-03T12:00", "*/15 2 4 * *", ["03T15:30", "03T15:45"]),
    ("Australia/Lord_Howe", "2026-10-03T12:00", "*/20 3 4 * *", ["03T16:00", "03T16:20", "03T16:40"]),
    # 5 April 2026, 15:00Z of the day before: 02:00 becomes 01:30.
    ("Australia/Lord_Howe", "2026-04-04T12:00", "45 1 * * *", ["04T14:45", "05T15:15"]),
    (
        "Australia/Lord_Howe",
        "2026-04-04T12:00",
        "*/15 1 5 * *",
        ["04T14:00", "04T14:15", "04T14:30", "04T14:45", "04T15:00", "04T15:15"],
    ),
    ("Australia/Lord_Howe", "2026-04-04T12:00", "*/30 2 5 * *", ["04T15:30", "04T16:00"]),
    # 8 March 2026, 05:00Z: midnight becomes 01:00.
    ("America/Havana", "2026-03-07T12:00", "0 0 * * *", ["08T05:00", "09T04:00"]),
    ("America/Havana", "2026-03-07T12:00", "30 0 * * *", ["08T05:00", "09T04:30"]),
    ("America/Havana", "2026-03-07T12:00", "*/20 0 * * sun", []),
    ("America/Havana", "2026-03-07T12:00", "* 0 8 3 *", []),
    ("America/Havana", "2026-03-07T12:00", "0 */8 8 * *", ["08T12:00", "08T20:00"]),
    # 1 November 2026, 05:00Z: 01:00 becomes midnight.
    ("America/Havana", "2026-10-31T12:00", "0 0 * * *", ["01T04:00", "02T05:00"]),
    ("America/Havana", "2026-10-31T12:00", "*/30 0 1 * *", ["01T04:00", "01T04:30", "01T05:00", "01T05:30"]),
    # Ramadan: 15 February 2026, 02:00Z, 03:00 becomes 02:00; 22 March, 02:00Z, 02:00 becomes 03:00.
    ("Africa/Casablanca", "2026-02-14T12:00", "30 2 * * *", ["15T01:30", "16T02:30"]),
    ("Africa/Casablanca", "2026-02-14T12:00", "*/30 2 15 * *", ["15T01:00", "15T01:30", "15T02:00", "15T02:30"]),
    ("Africa/Casablanca", "2026-03-21T12:00", "30 2 * * *", ["22T02:00", "23T01:30"]),
    ("Africa/Casablanca", "2026-03-21T12:00", "*/30 2 * * *", ["23T01:00", "23T01:30"]),
    # 22 March 2021, 20:30Z of the day before: midnight becomes 01:00.
    ("Asia/Tehran", "2021-03-21T12:00", "30 0 * * *", ["21T20:30", "22T20:00"]),
    ("Asia/Tehran", "2021-03-21T12:00", "*/30 0 * * *", ["22T19:30", "22T20:00"]),
    ("Asia/Tehran", "2021-03-21T12:00", "0 1 * * *", ["21T20:30", "22T20:30"]),
    # 22 September 2021, 19:30Z of the day before: midnight becomes 23:00.
    ("Asia/Tehran", "2021-09-21T12:00", "30 23 * * *", ["21T19:00", "22T20:00"]),
    ("Asia/Tehran", "2021-09-21T12:00", "*/30 23 21 * *", ["21T18:30", "21T19:00", "21T19:30", "21T20:00"]),
    ("Asia/Tehran", "2021-09-21T12:00", "@daily", ["21T20:30", "22T20:30"]),
    # 30 December 2011 did not exist: the calendar changed, not DST. Nothing is made up for.
    ("Pacific/Apia", "2011-12-29T12:00", "0 12 * * *", ["29T22:00", "30T22:00"]),
]


@pytest.mark.parametrize(("zone", "after", "cron", "expected"), CHANGES)
def test_a_clock_that_changes(zone: str, after: str, cron: str, expected: list[str]) -> None:
    table = Timetable(Schedule(cron=cron, timezone=zone), "UTC")
    found = table.slots(utc(after), utc(after) + timedelta(days=2))
    assert [slot.strftime("%dT%H:%M") for slot in found] == expected


# After 2026-01-01T00:00Z (a Thursday), the first slots of expressions in UTC.
EXPRESSIONS = [
    ("*/20 1 * * *", ["01-01 01:00", "01-01 01:20", "01-01 01:40", "01-02 01:00"]),
    ("0 0 13 * fri", ["01-02 00:00", "01-09 00:00", "01-13 00:00", "01-16 00:00"]),  # or, as neither is a star
    ("0 0 */2 * fri", ["01-09 00:00", "01-23 00:00", "02-13 00:00", "02-27 00:00"]),  # and, since one begins with it
    ("0 9 L * *", ["01-31 09:00", "02-28 09:00", "03-31 09:00", "04-30 09:00"]),
    ("0 9 LW * *", ["01-30 09:00", "02-27 09:00", "03-31 09:00", "04-30 09:00"]),
    ("0 9 * * fri#2", ["01-09 09:00", "02-13 09:00", "03-13 09:00", "04-10 09:00"]),
    ("0 9 * * 5L", ["01-30 09:00", "02-27 09:00", "03-27 09:00", "04-24 09:00"]),
    ("30 8 * jan-feb MON-TUE", ["01-05 08:30", "01-06 08:30", "01-12 08:30", "01-13 08:30"]),
    ("0 0 * * 7", ["01-04 00:00", "01-11 00:00", "01-18 00:00", "01-25 00:00"]),
    ("5,10-12 0 1 * *", ["01-01 00:05", "01-01 00:10", "01-01 00:11", "01-01 00:12"]),
    ("@hourly", ["01-01 01:00", "01-01 02:00", "01-01 03:00", "01-01 04:00"]),
    ("@weekly", ["01-04 00:00", "01-11 00:00", "01-18 00:00", "01-25 00:00"]),
    ("@monthly", ["02-01 00:00", "03-01 00:00", "04-01 00:00", "05-01 00:00"]),
    ("0 0 31 * *", ["01-31 00:00", "03-31 00:00", "05-31 00:00", "07-31 00:00"]),
]


@pytest.mark.parametrize(("cron", "expected"), EXPRESSIONS)
def test_expressions(cron: str, expected: list[str]) -> None:
    slots = Timetable(Schedule(cron=cron), "UTC").slots(utc("2026-01-01"), utc("2027-01-01"))
    assert [next(slots).strftime("%m-%d %H:%M") for _ in expected] == expected


def test_leap_days_and_seconds() -> None:
    leap = Timetable(Schedule(cron="0 0 29 2 *"), "UTC")
    assert leap.next(utc("2096-03-01")) == utc("2104-02-29")
    seconds = Timetable(Schedule(cron="*/20 0 12 * * *"), "UTC")
    assert [slot.second for slot in seconds.slots(utc("2026-01-01"), utc("2026-01-02"))] == [0, 20, 40]


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("60 * * * *", "minute '60' is not valid, write 0 to 59"),
        ("* 24 * * *", "hour '24'"),
        ("* * 0 * *", "day-of-month '0'"),
        ("* * * foo *", "month 'foo'"),
        ("* * * * sat-sun", "day-of-week 'sat-sun'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("1#1/2 * * * *", "minute"),
        ("* * * * 1#9", "day-of-week"),
        ("0 0 30 2 *", "never fires: month 2 has no day 30"),
        ("0 0 31 4,6 *", "never fires"),
        ("0 0 31-31 feb *", "day-of-month"),
    ],
)
def test_bad_expressions(cron: str, message: str) -> None:
    with pytest.raises(BadExpression, match=message.replace("*", r"\*")):
        Cron(cron).check_fires()


def test_every_counts_from_the_epoch() -> None:
    table = Timetable(Schedule(every=900.0), "Asia/Kathmandu")
    slots = list(table.slots(utc("2026-01-01T00:00:00.001"), utc("2026-01-01T01:00")))
    assert [slot.minute for slot in slots] == [15, 30, 45, 0]
    assert all(slot.timestamp() % 900 == 0 for slot in slots)


def test_start_and_end() -> None:
    table = Timetable(
        Schedule(cron="0 12 * * *", timezone="Europe/Berlin", start="2026-11-24", end="2026-11-26"), "UTC"
    )
    slots = list(table.slots(utc("2026-01-01"), utc("2027-01-01")))
    assert [slot.day for slot in slots] == [24, 25, 26]
    assert table.next(utc("2026-11-26T12:00")) is None
    both = Timetable(Schedule(every=60.0, start="2026-11-24T00:00Z", end="2026-11-24T00:02:00+00:00"), "UTC")
    assert len(list(both.slots(utc("2026-01-01"), utc("2027-01-01")))) == 3


def test_several_schedules_make_a_slot_once() -> None:
    tables = [Timetable(Schedule(cron=cron), "UTC") for cron in ("0 * * * *", "0,30 1 * * *")]
    slots = list(merged(tables, utc("2026-01-01"), utc("2026-01-01T03:00")))
    assert [slot.strftime("%H:%M") for slot in slots] == ["01:00", "01:30", "02:00", "03:00"]
    assert next_slot(tables, utc("2026-01-01T01:00")) == utc("2026-01-01T01:30")


def test_the_digest_is_that_of_the_slots() -> None:
    def digest(**options: object) -> str:
        return digest_of([Schedule(**{"cron": "0 2 * * *", **options})], "UTC")  # type: ignore[arg-type]

    assert digest() == digest(jitter=5.0, catchup="all", catchup_window=5.0, timezone="UTC")
    assert len({digest(), digest(cron="0 3 * * *"), digest(timezone="Europe/Berlin"), digest(end="2027-01-01")}) == 4


# -- laws

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Tehran"]


@st.composite
def _fields(draw: st.DrawFn, low: int, high: int) -> str:
    def value() -> int:
        return draw(st.integers(low, high))

    kind = draw(st.sampled_from(["star", "step", "one", "list", "range"]))
    if kind == "star":
        return "*"
    if kind == "step":
        return f"*/{draw(st.integers(1, high))}"
    if kind == "one":
        return str(value())
    if kind == "list":
        return ",".join(str(number) for number in sorted({value(), value(), value()}))
    first, last = sorted((value(), value()))
    return f"{first}-{last}"


expressions = st.tuples(_fields(0, 59), _fields(0, 23), _fields(1, 28), _fields(1, 12), _fields(0, 7)).map(" ".join)
schedules = st.one_of(
    st.builds(lambda cron, zone: Schedule(cron=cron, timezone=zone), expressions, st.sampled_from(ZONES)),
    st.builds(lambda every: Schedule(every=float(every)), st.integers(600, 200_000)),
)
# Around the changes of 2021 in all of these zones, and between them.
moments = st.datetimes(datetime(2021, 2, 1), datetime(2021, 12, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
spans = st.integers(1, 4 * 86400).map(lambda seconds: timedelta(seconds=seconds))


@given(schedules, moments, spans)
def test_slots_increase_strictly_and_lie_inside(schedule: Schedule, after: datetime, span: timedelta) -> None:
    slots = list(Timetable(schedule, "UTC").slots(after, after + span))
    assert all(one < two for one, two in pairwise(slots))
    assert all(after < slot <= after + span for slot in slots)
    assert all(slot.tzinfo is UTC for slot in slots)


@given(schedules, moments, spans, st.lists(st.floats(0, 1), max_size=4))
def test_any_split_gives_the_same_slots(
    schedule: Schedule, after: datetime, span: timedelta, cuts: list[float]
) -> None:
    table = Timetable(schedule, "UTC")
    until = after + span
    edges = [after, *sorted(after + span * cut for cut in cuts), until]
    parts = [slot for begin, end in pairwise(edges) for slot in table.slots(begin, end)]
    assert parts == list(table.slots(after, until))


@given(schedules, moments, spans)
def test_next_and_last_agree_with_slots(schedule: Schedule, after: datetime, span: timedelta) -> None:
    table = Timetable(schedule, "UTC")
    slots = list(table.slots(after, after + span))
    assert table.last(after, after + span) == (slots[-1] if slots else None)
    assume(slots)
    assert table.next(after) == slots[0]
    for slot in slots[:20]:
        assert list(table.slots(slot - timedelta(milliseconds=1), slot)) == [slot]


@given(expressions, st.sampled_from(ZONES), moments)
def test_a_wildcard_slot_fits_the_clock_on_the_wall(cron: str, zone: str, after: datetime) -> None:
    """Minute by minute, which is how Debian's cron finds a wildcard job."""
    minute, hour, *_ = cron.split()
    assume(minute.startswith("*") or hour.startswith("*"))
    table = Timetable(Schedule(cron=cron, timezone=zone), "UTC")
    begin = after.replace(second=0, microsecond=0)
    found = set(table.slots(begin, begin + timedelta(hours=6)))
    plain = Cron(cron)
    for number in range(1, 6 * 60 + 1):
        instant = begin + timedelta(minutes=number)
        wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        fits = next(plain.after(wall - timedelta(seconds=1))) == wall
        assert (instant in found) == fits, (instant, wall)


@given(schedules, moments, st.text("abc", min_size=1, max_size=3), st.integers(1, 3600))
def test_jitter_is_the_same_everywhere_and_bounded(schedule: Schedule, slot: datetime, job: str, jitter: int) -> None:
    table = Timetable(Schedule(every=60.0, jitter=float(jitter)), "UTC")
    again = Timetable(Schedule(every=60.0, jitter=float(jitter)), "Europe/Berlin")
    assert table.jitter(job, slot) == again.jitter(job, slot)
    assert timedelta(0) <= table.jitter(job, slot) < timedelta(seconds=jitter)
    assert Timetable(schedule, "UTC").jitter(job, slot) == timedelta(0)


def test_jitter_spreads() -> None:
    table = Timetable(Schedule(every=60.0, jitter=100.0), "UTC")
    shares = [table.jitter(f"job-{n}", utc("2026-01-01")).total_seconds() for n in range(200)]
    assert min(shares) < 10
    assert max(shares) > 90


# -- what is due


def _due(now: str, *, after: str = "2026-01-01T00:00", **options: object) -> tuple[list[str], datetime | None]:
    schedule = Schedule(**{"cron": "0 * * * *", **options})  # type: ignore[arg-type]
    due = due_slots("job", [Timetable(schedule, "UTC")], utc(after), utc(now))
    return [slot.strftime("%H:%M") for slot, _ in due.run], due.handled


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["05:00"]),
        ({"catchup": "last"}, ["05:00"]),
        ({"catchup": "none"}, []),
        ({"catchup": "all"}, ["01:00", "02:00", "03:00", "04:00", "05:00"]),
        ({"catchup": "all", "catchup_window": 7200.0}, ["04:00", "05:00"]),
        ({"catchup": "last", "catchup_window": 600.0}, []),
    ],
)
def test_after_an_outage(options: dict[str, Any], expected: list[str]) -> None:
    run, handled = _due("2026-01-01T05:30", **options)
    assert run == expected
    # What is left out is handled too, and never looked at again.
    assert handled == (None if run else utc("2026-01-01T05:00"))


@pytest.mark.parametrize("catchup", ["none", "last", "all"])
def test_what_is_on_time_is_run(catchup: str) -> None:
    assert _due("2026-01-01T01:01", catchup=catchup, catchup_window=1.0)[0] == ["01:00"]


def test_nothing_is_due_between_slots() -> None:
    assert _due("2026-01-01T00:59") == ([], None)


def test_thousands_of_missed_slots_come_in_portions() -> None:
    table = Timetable(Schedule(every=1.0, catchup="all"), "UTC")
    after, seen = utc("2026-01-01"), 0
    while True:
        due = due_slots("job", [table], after, utc("2026-01-01T01:00"))
        assert len(due.run) <= MOST_AT_ONCE
        seen += len(due.run)
        if not due.more:
            break
        after = due.run[-1][0]
    assert seen == 3600


def test_each_schedule_catches_up_by_its_own_rule() -> None:
    tables = [
        Timetable(Schedule(cron="0 1 * * *", catchup="last"), "UTC"),
        Timetable(Schedule(cron="0 2 * * *", catchup="none"), "UTC"),
    ]
    due = due_slots("job", tables, utc("2026-01-01"), utc("2026-01-01T03:00"))
    assert [slot.hour for slot, _ in due.run] == [1]
    assert due.handled == utc("2026-01-01T02:00")
