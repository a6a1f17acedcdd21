"""Compute the slots of a schedule: the UTC times at which a job should run. Pure functions."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.errors import InvalidParams
from runner.model.schedule import ONE_SCHEDULE, Schedule
from runner.model.slot_template import resolve
from runner.schedule.cron import Cron
from runner.schedule.rules import Calendars, Rules, no_calendars
from runner.schedule.zone import first_instant, next_change, wall_clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_HORIZON = timedelta(days=51 * 366)
"""How far ahead to search for the next slot: February 29 on a given weekday comes every 28 or 40 years."""
_MOST_LEFT_OUT = 2500
"""Days without a slot after which the search ends: seven years, more than a list of dates can cover."""
_FIRST_LOOK_BACK = timedelta(hours=1)
CALENDAR_BEGIN = datetime(2, 1, 1, tzinfo=UTC)
CALENDAR_END = datetime(9980, 1, 1, tzinfo=UTC)
"""The range of all slots. Outside, a time plus an offset or ten years of jitter could leave the calendar."""
_FIRST_MILLISECOND = (CALENDAR_BEGIN - _EPOCH) // _MILLISECOND
_LAST_MILLISECOND = (CALENDAR_END - _EPOCH) // _MILLISECOND


@dataclass(frozen=True, slots=True)
class Skipped:
    """Consecutive slots that are left out: the first one, and the time up to which the reason is the same."""

    slot: datetime
    until: datetime
    reason: str


class Timetable:
    """One schedule in its time zone.

    Args:
        schedule: a schedule that :func:`runner.schedule.check.check_schedules` has checked.
        timezone: the project's time zone, for a schedule without its own.
        calendars: finds a calendar by name.

    Raises:
        CalendarFault: a calendar cannot be read.
    """

    def __init__(self, schedule: Schedule, timezone: str, calendars: Calendars = no_calendars) -> None:
        self.schedule = schedule
        self.zone = _zone(schedule.timezone or timezone)
        self._cron = _cron(schedule.cron) if schedule.cron is not None else None
        self.begin = _read_start(schedule, self.zone)
        """The first instant that may be a slot, or None."""
        self.finish = _read_end(schedule, self.zone)
        """The last instant that may be a slot, or None."""
        self._rules = Rules(schedule, self.zone, calendars) if schedule.excepted or schedule.only else None

    def slots(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the slots with ``after < slot <= until``, in order, as aware datetimes in UTC.

        The interval can be split anywhere without changing the slots.
        """
        if self._rules is None:
            return self._declared(after, until)
        found = self._ruled(self._rules, after, until, whole=False)
        return (slot for slot in found if isinstance(slot, datetime))

    def skipped(self, after: datetime, until: datetime) -> Iterator[Skipped]:
        """Yield the slots in ``after < slot <= until`` that ``except`` and ``only`` leave out, in order."""
        if self._rules is not None:
            found = self._ruled(self._rules, after, until, whole=True)
            yield from (skip for skip in found if isinstance(skip, Skipped))

    def next_and_skipped(self, after: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the first slot after ``after``, and the first skipped slot before it."""
        after = _clamped(after)
        if self._rules is None:
            return self.next(after), None
        left_out = None
        for entry in self._ruled(self._rules, after, _clamped(after, _HORIZON), whole=False):
            if isinstance(entry, datetime):
                return entry, left_out
            left_out = left_out or entry.slot
        return None, left_out

    def fires(self, after: datetime) -> bool:
        """Return whether there is a slot after ``after``, for a schedule without calendars."""
        after = _clamped(after)
        if self._rules is None:
            return self.next(after) is not None
        found = self._ruled(self._rules, after, _clamped(after, _HORIZON), whole=False)
        return any(isinstance(entry, datetime) for entry in islice(found, _MOST_LEFT_OUT))

    def _ruled(self, rules: Rules, after: datetime, until: datetime, *, whole: bool) -> Iterator[datetime | Skipped]:
        """Yield slots, and the skipped ones between them; ``whole``: merge skipped slots with the same reason."""
        after, until = _clamped(after), _clamped(until)
        slots = self._declared(after, until)
        slot, verdict = next(slots, None), None
        while slot is not None:
            if verdict is None or slot >= verdict.until:
                verdict = rules.at(slot)
            if verdict.reason is None:
                yield slot
                slot = next(slots, None)
                continue
            end = verdict.until
            while whole and end <= until and (following := rules.at(end)).reason == verdict.reason:
                end = following.until
            yield Skipped(slot, end, verdict.reason)
            slot = next(slots, None)
            if slot is not None and slot < end:
                # Do not check the slots one by one: a closed night can have 30,000 of them.
                slots = self._declared(end - _MILLISECOND, until)
                slot = next(slots, None)

    def _declared(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the slots of ``cron`` or ``every``, without applying ``except`` and ``only``."""
        if self.begin is not None:
            after = max(after, self.begin - _MILLISECOND)
        if self.finish is not None:
            until = min(until, self.finish)
        after, until = max(after.astimezone(UTC), CALENDAR_BEGIN), min(until.astimezone(UTC), CALENDAR_END)
        if after >= until:
            return iter(())
        if self._cron is None:
            return self._every(after, until)
        if self._cron.wild:
            return self._wild(self._cron, after, until)
        return self._fixed(self._cron, after, until)

    def next(self, after: datetime) -> datetime | None:
        """Return the first slot after ``after``, or None."""
        after = _clamped(after)
        return next(self.slots(after, _clamped(after, _HORIZON)), None)

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last slot with ``after < slot <= until``."""
        # Search from the end in growing steps: the interval may have a million slots.
        after, until = _clamped(after), _clamped(until)
        step, end = _FIRST_LOOK_BACK, until
        while end > after:
            begin = end - min(step, end - after)
            found = None
            for found in self.slots(begin, end):  # noqa: B007 - the last one is wanted
                pass
            if found is not None:
                return found
            step, end = step * 2, begin
        return None

    def jitter(self, job: str, slot: datetime) -> timedelta:
        """Return the delay of a slot's run (seconds): less than ``jitter``, and the same on every host."""
        if not self.schedule.jitter:
            return timedelta(0)
        digest = hashlib.blake2b(f"{job}\n{milliseconds(slot)}".encode(), digest_size=8).digest()
        share = int.from_bytes(digest) / 2**64
        return timedelta(milliseconds=int(share * self.schedule.jitter * 1000))

    def params(self, slot: datetime) -> dict[str, Any]:
        """Return the params of the schedule for the run of ``slot``, in local time of its zone.

        Raises:
            InvalidParams: an offset of a placeholder leads out of the calendar.
        """
        if not self.schedule.params:
            return {}
        try:
            found: dict[str, Any] = resolve(self.schedule.params, slot.astimezone(self.zone))
        except (OverflowError, ValueError):
            raise InvalidParams(
                f"the params of slot {slot.isoformat()} are outside the calendar",
                hint="correct the offsets under schedule.params",
            ) from None
        return found

    def _every(self, after: datetime, until: datetime) -> Iterator[datetime]:
        assert self.schedule.every is not None
        step = round(self.schedule.every * 1000)
        number = (after - _EPOCH) // _MILLISECOND // step + 1
        last = (until - _EPOCH) // _MILLISECOND // step
        while number <= last:
            yield _EPOCH + number * step * _MILLISECOND
            number += 1

    def _fixed(self, cron: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the slots of a job at fixed times: each time once, even if the clock skips or repeats it."""
        latest = after
        for wall in cron.after(wall_clock(after, self.zone)):
            slot = first_instant(wall, self.zone)
            if slot is None:
                continue
            if slot > until:
                return
            # Two times in one gap, or one in the gap and one at its end, make one slot.
            if slot > latest:
                latest = slot
                yield slot

    def _wild(self, cron: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the slots of a wildcard job: it follows the wall clock, so it skips gaps and repeats repeated hours."""
        begin = after
        while begin < until:
            # `begin` itself is done, or belongs to the offset before.
            first = begin + _MILLISECOND
            offset = first.astimezone(self.zone).utcoffset()
            assert offset is not None
            end = next_change(first, self.zone)
            for wall in cron.after((begin + offset).replace(tzinfo=None)):
                slot = (wall - offset).replace(tzinfo=UTC)
                if slot >= end:
                    break
                if slot > until:
                    return
                yield slot
            begin = end - _MILLISECOND


def timetables(schedules: Sequence[Schedule], timezone: str, calendars: Calendars) -> tuple[Timetable, ...]:
    """Return the timetables of a job's schedules. Raises the same errors as :class:`Timetable`."""
    return tuple(Timetable(schedule, timezone, calendars) for schedule in schedules)


def merged(tables: Sequence[Timetable], after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the slots of all tables in order, each once."""
    previous = None
    for slot in heapq.merge(*(table.slots(after, until) for table in tables)):
        if slot != previous:
            yield slot
        previous = slot


def owner_of(tables: Sequence[Timetable], slot: datetime) -> Timetable | None:
    """Return the first timetable that has a slot, or None."""
    return next((table for table in tables if any(table.slots(slot - _MILLISECOND, slot))), None)


def params_of(tables: Sequence[Timetable], slot: datetime) -> dict[str, Any]:
    """Return the params for the run of a slot, from the timetable that it belongs to.

    Raises:
        InvalidParams: see :meth:`Timetable.params`.
    """
    if not any(table.schedule.params for table in tables):
        return {}
    owner = owner_of(tables, slot)
    return {} if owner is None else owner.params(slot)


def skipped(tables: Sequence[Timetable], after: datetime, until: datetime) -> Iterator[Skipped]:
    """Yield the skipped slots of all tables in order, except those that another table runs."""
    for skip in heapq.merge(*(table.skipped(after, until) for table in tables), key=lambda skip: skip.slot):
        if not any(any(table.slots(skip.slot - _MILLISECOND, skip.slot)) for table in tables):
            yield skip


def next_slot(tables: Sequence[Timetable], after: datetime) -> datetime | None:
    """Return the first slot of any table after ``after``."""
    found = [slot for table in tables if (slot := table.next(after)) is not None]
    return min(found, default=None)


def next_and_skipped(tables: Sequence[Timetable], after: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the first slot of any table after ``after``, and the first skipped slot before it."""
    found = [table.next_and_skipped(after) for table in tables]
    slot = min((slot for slot, _ in found if slot is not None), default=None)
    left_out = min((left_out for _, left_out in found if left_out is not None), default=None)
    return slot, left_out if slot is None or left_out is None or left_out < slot else None


def digest_of(schedules: Sequence[Schedule], timezone: str) -> str:
    """Return a short digest of all options that determine the slots."""
    written = [
        ONE_SCHEDULE.write(
            replace(
                schedule,
                timezone=schedule.timezone or timezone,
                jitter=0.0,
                catchup="last",
                catchup_window=86400.0,
                params={},
            )
        )
        for schedule in schedules
    ]
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:16]


def milliseconds(moment: datetime) -> int:
    """Return the Unix time in milliseconds of an aware datetime."""
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(moment: int) -> datetime:
    """Return the UTC datetime of a Unix time in milliseconds, clamped to the calendar."""
    return _EPOCH + min(max(moment, _FIRST_MILLISECOND), _LAST_MILLISECOND) * _MILLISECOND


def _clamped(moment: datetime, later: timedelta = timedelta(0)) -> datetime:
    """Return ``moment`` plus ``later``, clamped to the calendar."""
    inside = min(max(moment, CALENDAR_BEGIN), CALENDAR_END)
    return inside + min(later, CALENDAR_END - inside)


def _read_start(schedule: Schedule, zone: ZoneInfo) -> datetime | None:
    return _moment(schedule.start, zone) if schedule.start is not None else None


def _read_end(schedule: Schedule, zone: ZoneInfo) -> datetime | None:
    if schedule.end is None:
        return None
    if len(schedule.end) > len("2026-12-31"):
        return _moment(schedule.end, zone)
    day = datetime.combine(datetime.fromisoformat(schedule.end), time())
    if day.year >= CALENDAR_END.year:
        return None
    return _instant(day + timedelta(days=1), zone) - _MILLISECOND


def _moment(text: str, zone: ZoneInfo) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.year >= CALENDAR_END.year:
        return CALENDAR_END  # 9999-12-31 means "never"; with an offset, it may not exist in UTC
    return _instant(moment, zone) if moment.tzinfo is None else moment.astimezone(UTC)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    whole = wall.replace(microsecond=0)
    return (first_instant(whole, zone) or whole.replace(tzinfo=zone).astimezone(UTC)) + (wall - whole)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def _cron(text: str) -> Cron:
    return Cron(text)
