"""Decide which times dates, windows, and calendars cover. Pure functions; callers read the calendar files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from runner._dataclass import dataclass
from runner.model.slot_rule import WEEKDAYS, Window

_DAY = timedelta(days=1)
NEVER = datetime.max
"""Later than any time on a wall clock."""


class CalendarFault(Exception):
    """A calendar is missing or cannot be read, so the slots that it leaves out are unknown. The message says why."""


@dataclass(frozen=True, slots=True)
class Cover:
    """The answer to "what covers this time?".

    ``name``: the name of the cover, empty if it has none, and None if nothing covers the time. ``until``: a later time
    on the same wall clock up to which the answer is the same.
    """

    name: str | None
    until: datetime


class Coverage(Protocol):
    """Something that covers some times."""

    def at(self, wall: datetime, offset: timedelta) -> Cover:
        """Return the coverage of the local time ``wall``, as if its ``offset`` from UTC never changed."""


class Days:
    """Whole days on the wall clock, with their names."""

    def __init__(self, names: Mapping[date, str]) -> None:
        self._names = dict(names)
        self._ordered = sorted(self._names)

    def at(self, wall: datetime, offset: timedelta) -> Cover:  # noqa: ARG002 - days depend on the wall clock only
        day = wall.date()
        name = self._names.get(day)
        if name is not None:
            return Cover(name, _midnight(day) + _DAY)
        position = bisect_right(self._ordered, day)
        return Cover(None, _midnight(self._ordered[position]) if position < len(self._ordered) else NEVER)


class Windows:
    """A daily window on the wall clock."""

    def __init__(self, window: Window) -> None:
        self._days = frozenset(map(WEEKDAYS.index, window.days or WEEKDAYS))
        self._begin = timedelta(minutes=window.start)
        self._end = timedelta(minutes=window.end) + (_DAY if window.end <= window.start else timedelta(0))

    def at(self, wall: datetime, offset: timedelta) -> Cover:  # noqa: ARG002 - times depend on the wall clock only
        today = _midnight(wall.date())
        until = today + _DAY
        for midnight in (today - _DAY, today):
            if midnight.weekday() in self._days:
                begin, end = midnight + self._begin, midnight + self._end
                if begin <= wall < end:
                    return Cover("", end)
                if wall < begin:
                    until = min(until, begin)
        return Cover(None, until)


@dataclass(frozen=True, slots=True)
class Span:
    """A named interval without its ``end``. Naive times mean the wall clock that is asked."""

    start: datetime
    end: datetime
    name: str


@dataclass(frozen=True, slots=True)
class Year:
    """The part of a calendar for one year."""

    days: Mapping[date, str]
    spans: Sequence[Span] = ()


class Calendar:
    """A calendar that is computed a year at a time.

    Args:
        read: returns the part for a year, with all spans that touch the year in any time zone.
    """

    def __init__(self, read: Callable[[int], Year]) -> None:
        self._read = read
        self._years: dict[int, tuple[Days, Sequence[Span]]] = {}

    def at(self, wall: datetime, offset: timedelta) -> Cover:
        days, spans = self._year(wall.year)
        found = days.at(wall, offset)
        if found.name is not None:
            return found
        until = min(found.until, datetime(wall.year + 1, 1, 1))
        for span in spans:
            start, end = _on_wall(span.start, offset), _on_wall(span.end, offset)
            if start <= wall < end:
                return Cover(span.name, min(until, end))
            if wall < start:
                until = min(until, start)
        return Cover(None, until)

    def _year(self, number: int) -> tuple[Days, Sequence[Span]]:
        known = self._years.get(number)
        if known is None:
            read = self._read(number)
            known = self._years[number] = (Days(read.days), tuple(read.spans))
        return known


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _on_wall(moment: datetime, offset: timedelta) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None) + offset
