"""Cron expressions against a plain reference of Debian's cron: entry.c reads the fields, cron.c follows the clock.

The reference is written from the C sources (cron 3.0pl1) and shares no code with what it judges. It works minute by
minute, so it is slow and easy to check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.crontab.fields import Fields
from runner.model.schedule import Schedule
from runner.schedule.cron import BadExpression, Cron
from runner.schedule.timetable import Timetable

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
FIELDS: tuple[tuple[int, int, list[str]], ...] = ((0, 59, []), (0, 23, []), (1, 31, []), (1, 12, MONTHS), (0, 7, DAYS))


class Refused(ValueError):
    """Debian's cron would not install a crontab with this."""


def get_number(text: str, low: int, names: list[str]) -> int:
    if re.fullmatch("[0-9]+", text):
        return int(text)
    if text.lower() in names:
        return names.index(text.lower()) + low
    raise Refused(text)


def get_range(text: str, low: int, high: int, names: list[str]) -> set[int]:
    span, slash, step = text.partition("/")
    if span == "*":
        first, last = low, high
    elif "-" in span:
        left, _, right = span.partition("-")
        first, last = get_number(left, low, names), get_number(right, low, names)
    elif slash:
        raise Refused(text)  # a step belongs to a range, or to a star
    else:
        first = last = get_number(span, low, names)
    every = get_number(step, low, []) if slash else 1
    if not every:
        raise Refused(text)
    found = set(range(first, last + 1, every))
    if any(not low <= number <= high for number in (first, last)):
        raise Refused(text)
    return found


@dataclass(frozen=True)
class Entry:
    """A line of a crontab, as cron holds it."""

    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    day_star: bool
    weekday_star: bool
    wild: bool

    @classmethod
    def read(cls, text: str) -> Entry:
        words = text.split()
        if len(words) != 5:
            raise Refused(text)
        bits = [
            set().union(*(get_range(part, *field) for part in word.split(",")))
            for word, field in zip(words, FIELDS, strict=True)
        ]
        bits[4] |= {0, 7} if bits[4] & {0, 7} else set()
        minutes, hours, days, months, weekdays = bits
        return cls(
            minutes,
            hours,
            days,
            months,
            weekdays,
            day_star=words[2].startswith("*"),
            weekday_star=words[4].startswith("*"),
            wild=words[0].startswith("*") or words[1].startswith("*"),
        )

    def matches(self, minute: int) -> bool:
        if minute % 60 not in self.minutes or minute // 60 % 24 not in self.hours:
            return False
        moment = EPOCH + timedelta(minutes=minute)
        day, weekday = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        either = (day and weekday) if self.day_star or self.weekday_star else (day or weekday)
        return moment.month in self.months and either


EPOCH = datetime(1970, 1, 1)
MINUTE = timedelta(minutes=1)


@cache
def clock(zone: str, begin: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """Return each minute, and the minute that the clock on the wall shows then."""
    here = ZoneInfo(zone)
    minutes = [begin + number * MINUTE for number in range((end - begin) // MINUTE + 1)]
    return [(real, (real.astimezone(here).replace(tzinfo=None) - EPOCH) // MINUTE) for real in minutes]


def runs_of(entry: Entry, zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield when cron's main loop starts the job."""

    def find_jobs(minute: int, *, wild: bool, fixed: bool) -> bool:
        return (wild if entry.wild else fixed) and entry.matches(minute)

    (_, virtual), *minutes = clock(zone, begin, end)
    for real, running in minutes:
        ahead = running - virtual
        started = False
        if 0 < ahead <= 5:
            while virtual < running:
                virtual += 1
                started |= find_jobs(virtual, wild=True, fixed=True)
        elif 5 < ahead <= 180:
            started = find_jobs(running, wild=True, fixed=False)
            while virtual < running:
                virtual += 1
                started |= find_jobs(virtual, wild=False, fixed=True)
        elif -180 < ahead <= 0:
            started = find_jobs(running, wild=True, fixed=False)
        else:
            virtual = running
            started = find_jobs(running, wild=True, fixed=True)
        if started:
            yield real


CHANGES = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/Havana", "2026-03-08"),
    ("America/Havana", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("Asia/Tehran", "2021-03-21"),
    ("Asia/Tehran", "2021-09-21"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Antarctica/Troll", "2026-10-25"),
    ("Antarctica/Casey", "2020-10-03"),
    ("Antarctica/Casey", "2010-03-04"),
    ("Antarctica/Casey", "2009-10-17"),
    ("Pacific/Apia", "2011-12-30"),
    ("America/Caracas", "2016-05-01"),
    ("Asia/Pyongyang", "2018-05-04"),
    ("Atlantic/Azores", "2026-03-29"),
    ("UTC", "2026-02-28"),
]


@st.composite
def numbers(draw: st.DrawFn, low: int, high: int, names: list[str]) -> str:
    value = draw(st.integers(low, high))
    written = [str(value), f"{value:02d}"]
    if names and value - low < len(names):
        written.append(draw(st.sampled_from([str.lower, str.upper, str.title]))(names[value - low]))
    return draw(st.sampled_from(written))


@st.composite
def parts(draw: st.DrawFn, low: int, high: int, names: list[str]) -> str:
    step = draw(st.sampled_from(["", "", "/1", "/2", "/3", "/07", "/30", "/99"]))
    kind = draw(st.sampled_from(["star", "range", "one", "number"]))
    if kind == "star":
        return "*" + step
    if kind == "number":
        return draw(numbers(low, high, names))
    first = draw(st.integers(low, high))
    last = first if kind == "one" else draw(st.integers(first, high))
    # The same number written in two ways is a range of one too.
    return f"{first}-{last:02d}{step}" if draw(st.booleans()) else f"{first}-{last}{step}"


@st.composite
def expressions(draw: st.DrawFn) -> str:
    near = [(0, 59), (0, draw(st.sampled_from([5, 23]))), (1, 31), (1, 12), (0, 7)]
    fields = []
    for (low, high), (_, _, names) in zip(near, FIELDS, strict=True):
        field = st.lists(parts(low, high, names), min_size=1, max_size=3).map(",".join)
        fields.append(draw(field if draw(st.booleans()) else st.just("*")))
    return " ".join(fields)


def compare(expression: str, zone: str, day: str) -> None:
    change = datetime.fromisoformat(day).replace(tzinfo=UTC)
    begin, end = change - timedelta(hours=40), change + timedelta(hours=40)
    expected = list(runs_of(Entry.read(expression), zone, begin, end))
    found = list(Timetable(Schedule(cron=expression, timezone=zone), "UTC").slots(begin, end))
    assert found == expected


@settings(max_examples=150)
@given(expressions(), st.sampled_from(CHANGES))
def test_any_expression_around_a_change_of_the_clock_runs_as_under_debian(
    expression: str, change: tuple[str, str]
) -> None:
    try:
        Cron(expression)
    except BadExpression:
        # Debian's cron takes this, and never runs anything: no month has such a day.
        entry = Entry.read(expression)
        assert not any(entry.matches(day * 1440 + min(entry.hours) * 60 + min(entry.minutes)) for day in range(366 * 8))
        return
    compare(expression, *change)


ONE_VALUE = [
    "0 0-0/1 * * *",
    "7-7/2 * * * *",
    "07-7/2 3 * * *",
    "0 0 * * mon-MON/2",
    "0 0 * jan-1/2 *",
    "0 2,4-4/3 * * *",
]


@pytest.mark.parametrize("expression", ONE_VALUE)
@pytest.mark.parametrize("change", CHANGES[:4])
def test_a_range_of_one_value_with_a_step(expression: str, change: tuple[str, str]) -> None:
    compare(expression, *change)


@given(expressions())
def test_the_fields_that_crontabs_and_timers_are_written_from_are_those_of_debian(expression: str) -> None:
    try:
        fields = Fields.of(expression)
    except BadExpression:
        return
    entry = Entry.read(expression)
    wanted = (entry.minutes, entry.hours, entry.days, entry.months, {weekday % 7 for weekday in entry.weekdays})
    for index, (values, (low, high, _)) in enumerate(zip(wanted, FIELDS, strict=True), 1):
        every = list(range(low, high + (index < 5)))
        assert (fields.values(index) or every) == sorted(values)


# What is read here and not by Debian's cron. docs/explanation/schedules.md lists it.
BEYOND = {
    "5/10 0 * * *": "5-59/10 0 * * *",
    "0/15 0 * * *": "0-59/15 0 * * *",
    "0 0 * * mon/2": "0 0 * * 1-7/2",
    "0 0 10/7,1 * *": "0 0 10-31/7,1 * *",
}


@pytest.mark.parametrize("expression", BEYOND)
def test_a_start_with_a_step_means_from_there_to_the_end(expression: str) -> None:
    with pytest.raises(Refused):
        Entry.read(expression)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    ours, long = (
        list(Timetable(Schedule(cron=cron), "UTC").slots(begin, begin + timedelta(days=40)))
        for cron in (expression, BEYOND[expression])
    )
    assert ours == long != []


@pytest.mark.parametrize("expression", ["0 0 L * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * 5#2", "0 0 0 * * *"])
def test_more_that_debian_refuses(expression: str) -> None:
    Cron(expression).check_fires()
    with pytest.raises(Refused):
        Entry.read(expression)


WRONG = """\
60 * * * *|* 24 * * *|* * 0 * *|* * 32 * *|* * * 13 *|* * * * 8|*/0 * * * *|1-5/0 * * * *|, * * * *|1, * * * *
1--2 * * * *|1/2/3 * * * *|1-mon * * * *|* * * january *|* * * * sunday"""


@pytest.mark.parametrize("expression", WRONG.replace("\n", "|").split("|"))
def test_what_debian_refuses_is_refused(expression: str) -> None:
    with pytest.raises(Refused):
        Entry.read(expression)
    with pytest.raises(BadExpression):
        Cron(expression)
