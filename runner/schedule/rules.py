"""Decide whether ``except`` and ``only`` of a schedule leave a slot out, and why. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.model.schedule import Schedule
from runner.model.slot_rule import CALENDAR, Window, names_calendar
from runner.schedule.coverage import NEVER, CalendarFault, Coverage, Days, Windows
from runner.schedule.zone import next_change

OUTSIDE = "outside of only"


Calendars = Callable[[str], Coverage]
"""Return a calendar by name, or raise :class:`CalendarFault`."""


def no_calendars(name: str) -> Coverage:
    """Raise CalendarFault for any name: for schedules that use no calendars."""
    raise CalendarFault(f"there is no calendar {name}")


def without_calendars(schedule: Schedule) -> Schedule:
    """Return the schedule with every slot that it can have, whatever its calendars contain."""
    excepted = tuple(rule for rule in schedule.excepted if not names_calendar(rule))
    only = () if any(map(names_calendar, schedule.only)) else schedule.only
    return replace(schedule, excepted=excepted, only=only)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason``: why slots are left out, or None if they run. It holds from the time asked for to ``until``."""

    reason: str | None
    until: datetime


class Rules:
    """``except`` and ``only`` of one schedule in its zone.

    Raises:
        CalendarFault: a calendar is unknown.
    """

    def __init__(self, schedule: Schedule, zone: ZoneInfo, calendars: Calendars) -> None:
        self._zone = zone
        self._except = [(str(rule), _coverage(rule, calendars)) for rule in schedule.excepted]
        self._only = [_coverage(rule, calendars) for rule in schedule.only]

    def at(self, instant: datetime) -> Verdict:
        """Return the verdict for a slot at ``instant`` (aware)."""
        offset = instant.astimezone(self._zone).utcoffset()
        assert offset is not None
        wall = instant.astimezone(UTC).replace(tzinfo=None) + offset
        until = NEVER
        for text, coverage in self._except:
            cover = coverage.at(wall, offset)
            until = min(until, cover.until)
            if cover.name is not None:
                return self._verdict(_reason(text, cover.name), instant, until, offset)
        covers = [coverage.at(wall, offset) for coverage in self._only]
        until = min([until, *(cover.until for cover in covers)])
        allowed = not covers or any(cover.name is not None for cover in covers)
        return self._verdict(None if allowed else OUTSIDE, instant, until, offset)

    def _verdict(self, reason: str | None, instant: datetime, until: datetime, offset: timedelta) -> Verdict:
        change = next_change(instant, self._zone)
        return Verdict(reason, change if until == NEVER else min(change, (until - offset).replace(tzinfo=UTC)))


def _coverage(rule: str | Window, calendars: Calendars) -> Coverage:
    if isinstance(rule, Window):
        return Windows(rule)
    if rule.startswith(CALENDAR):
        return calendars(rule.removeprefix(CALENDAR))
    return Days({date.fromisoformat(rule): ""})


def _reason(text: str, name: str) -> str:
    return f"except {text}: {name}" if name else f"except {text}"
