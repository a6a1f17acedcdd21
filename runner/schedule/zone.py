"""Convert between wall-clock times and UTC instants, by the rules of Debian's cron for DST changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

LONGEST_GAP = timedelta(hours=3)
"""Skipped times run after the gap if the gap is shorter than this (Debian's cron.c: 3*MINUTE_COUNT). A longer gap,
such as Samoa's lost day, is a change of the calendar, not DST."""

_STEP = timedelta(hours=6)
"""No time zone has ever kept an offset for a shorter time."""
_SECOND = timedelta(seconds=1)


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the UTC instant of a fixed wall-clock time.

    A repeated time means its first occurrence. A skipped time means the end of the gap, or None if the gap is not
    shorter than :data:`LONGEST_GAP`.
    """
    before, after = wall.replace(tzinfo=zone, fold=0), wall.replace(tzinfo=zone, fold=1)
    instant = before.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    early, late = after.astimezone(UTC), instant
    if late - early >= LONGEST_GAP:
        return None
    return _change_between(zone, early, late)


def wall_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the local time at an instant, as a naive datetime."""
    return instant.astimezone(zone).replace(tzinfo=None)


def next_change(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the next offset change after ``instant``, or the end of that year (UTC) if there is none before."""
    for change in _changes(zone, instant.year):
        if change > instant:
            return change
    return datetime(instant.year + 1, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    found = []
    here, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while here < end:
        there = here + _STEP
        if _offset(here, zone) != _offset(there, zone):
            found.append(_change_between(zone, here, there))
        here = there
    return tuple(found)


def _change_between(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """Return the first instant with the new offset. Both ends are whole seconds with different offsets."""
    old = _offset(early, zone)
    while late - early > _SECOND:
        middle = early + timedelta(seconds=(late - early) // _SECOND // 2)
        if _offset(middle, zone) == old:
            early = middle
        else:
            late = middle
    return late


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
