"""The schedules of all jobs: the next run of each job, and the runs of a day. Cached until the job files change."""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.catalog.catalog import Catalog
from runner.errors import InvalidParams
from runner.schedule.timetable import Timetable, merged, next_slot, owner_of, skipped, timetables
from runner.web.schedule_text import schedule_phrase

log = logging.getLogger(__name__)

OFTEN = 24
"""A job with more runs than this in 24 hours would hide all others in a calendar."""
FEW = 4
"""A job with more runs than this in a day is shown as one series, such as "every 30 min, 08:00 to 18:30"."""
MOST_IN_SERIES = 100
"""Slots of a day from which a series is described; of a job with more of them, its schedule is shown."""
MOST_SERIES = 12
"""Series of a day."""
DAYS_KEPT = 32


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A scheduled run: its start, jitter included, and the params that its schedule gives."""

    start: datetime
    job: str
    slot: datetime = field(compare=False)
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """Slots of a job that are left out: the first one, the time up to which the reason holds, and the reason."""

    slot: datetime
    job: str
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Series:
    """The many runs of a job on a day. ``text`` says when they start; ``count`` is None if they were not counted."""

    job: str
    text: str
    count: int | None


@dataclass(frozen=True, slots=True)
class DayPlan:
    """What is scheduled on a day: single runs in order, the series by job, and how many series are not listed."""

    day: date
    begin: datetime
    end: datetime
    runs: list[Due]
    series: list[Series]
    more_series: int
    left_out: list[LeftOut]


class Calendar:
    """The schedules of the enabled jobs of a catalog. One that cannot be computed is logged, and not shown."""

    def __init__(self, catalog: Catalog, timezone: str) -> None:
        self.zone = ZoneInfo(timezone)
        self.tables: dict[str, tuple[Timetable, ...]] = {}
        for name, _ in catalog.scheduled():
            job = catalog.jobs[name]
            if job.enabled and job.schedule:
                with self._alone(name):
                    self.tables[name] = timetables(job.schedule, timezone, catalog.calendars)
        self._next: dict[str, datetime | None] = {}
        self._day = lru_cache(DAYS_KEPT)(self._read_day)
        self._left_out = lru_cache(DAYS_KEPT)(self._read_left_out)
        self._plan = lru_cache(DAYS_KEPT)(self._read_plan)

    def next_of(self, job: str, now: datetime) -> Due | None:
        """Return the next run of a job after ``now``, if there is any."""
        tables = self.tables.get(job)
        if tables is None:
            return None
        slot = self._next.get(job)
        found: list[Due] = []
        with self._alone(job):
            if job not in self._next or (slot is not None and slot <= now):
                slot = self._next[job] = next_slot(tables, now)
            if slot is not None:
                found.append(self._due(job, slot))
        return found[0] if found else None

    def soonest(self, now: datetime, most: int) -> list[Due]:
        """Return the jobs that are due soonest, each once."""
        return heapq.nsmallest(most, (due for job in list(self.tables) if (due := self.next_of(job, now)) is not None))

    def coming(self, job: str, now: datetime, most: int) -> list[Due]:
        """Return the next runs of a job."""
        slots: list[Due] = []
        after = now
        with self._alone(job):
            while len(slots) < most and (slot := next_slot(self.tables.get(job, ()), after)) is not None:
                slots.append(self._due(job, slot))
                after = slot
        return slots

    def day(self, day: date) -> tuple[list[Due], list[str]]:
        """Return the runs of a day in the project's zone, in order, and the jobs with more than :data:`OFTEN` runs."""
        return self._day(day)

    def plan(self, day: date) -> DayPlan:
        """Return the schedule of a day in the project's time zone, with a series for each job that has many runs."""
        return self._plan(day)

    def left_out(self, day: date) -> list[LeftOut]:
        """Return the slots of a day, in the project's zone, that ``except`` and ``only`` leave out, in order."""
        return self._left_out(day)

    def left_out_of(self, job: str, begin: datetime, end: datetime, most: int) -> list[LeftOut]:
        """Return the first stretches that are left out of a job between two times."""
        found: list[LeftOut] = []
        with self._alone(job):
            slots = skipped(self.tables.get(job, ()), begin, end)
            found += [LeftOut(slot.slot, job, slot.until, slot.reason) for slot in islice(slots, most)]
        return found

    def hours(self, day: date) -> dict[datetime, dict[str, list[Due]]]:
        """Return the hours of a day that have runs, and these by job."""
        begin, end = self.bounds(day)
        found: list[Due] = []
        for job in list(self.tables):
            with self._alone(job):
                found += [self._due(job, slot) for slot in self._slots(job, begin, end)]
        hours: dict[datetime, dict[str, list[Due]]] = {}
        for due in sorted(found):
            # By the clock on the wall; an hour that the clock repeats is two.
            hour = due.start.astimezone(self.zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
            hours.setdefault(hour, {}).setdefault(due.job, []).append(due)
        return hours

    def today(self, now: datetime) -> date:
        """Return the day that it is in the project's zone."""
        return now.astimezone(self.zone).date()

    def _read_day(self, day: date) -> tuple[list[Due], list[str]]:
        begin, end = self.bounds(day)
        found: list[Due] = []
        often = []
        for job in list(self.tables):
            with self._alone(job):
                slots = list(islice(self._slots(job, begin, end), OFTEN + 2))
                # The day on which the clock is put back has 25 hours.
                if len(slots) > OFTEN * ((end - begin) / timedelta(days=1)):
                    often.append(job)
                else:
                    found += [self._due(job, slot) for slot in slots]
        return sorted(found), sorted(often)

    def _read_plan(self, day: date) -> DayPlan:
        begin, end = self.bounds(day)
        runs, often = self._day(day)
        numbers = Counter(due.job for due in runs)
        many = sorted(job for job, number in numbers.items() if number > FEW)
        listed = [*many, *often][:MOST_SERIES]
        series = [found for job in listed for found in self._read_series(job, begin, end)]
        return DayPlan(
            day,
            begin,
            end,
            [due for due in runs if numbers[due.job] <= FEW],
            series,
            len(many) + len(often) - len(listed),
            self._left_out(day),
        )

    def _read_series(self, job: str, begin: datetime, end: datetime) -> list[Series]:
        found: list[Series] = []
        with self._alone(job):
            slots = list(islice(self._slots(job, begin, end), MOST_IN_SERIES + 1))
            if len(slots) > MOST_IN_SERIES:
                found.append(
                    Series(job, schedule_phrase([table.schedule for table in self.tables[job]], self.zone.key), None)
                )
            else:
                found.append(Series(job, series_text(slots, begin, end, self.zone), len(slots)))
        return found

    def _read_left_out(self, day: date) -> list[LeftOut]:
        begin, end = self.bounds(day)
        tick = timedelta(milliseconds=1)
        return sorted(
            left_out for job in list(self.tables) for left_out in self.left_out_of(job, begin - tick, end - tick, OFTEN)
        )

    @contextmanager
    def _alone(self, job: str) -> Iterator[None]:
        """Log an error in the schedule of one job, and go on with the others."""
        try:
            yield
        except Exception:
            self.tables.pop(job, None)
            log.exception("the schedule of job %s cannot be computed, it is not shown", job)

    def bounds(self, day: date) -> tuple[datetime, datetime]:
        """Return the beginning and the end of a day in the project's zone."""
        begin, end = (
            datetime.combine(local_date, time(), self.zone).astimezone(UTC)
            for local_date in (day, day + timedelta(days=1))
        )
        return begin, end

    def _slots(self, job: str, begin: datetime, end: datetime) -> Iterator[datetime]:
        # A timetable excludes its beginning and includes its end.
        tick = timedelta(milliseconds=1)
        return merged(self.tables[job], begin - tick, end - tick)

    def _due(self, job: str, slot: datetime) -> Due:
        tables = self.tables[job]
        owner = tables[0] if len(tables) == 1 else owner_of(tables, slot)
        assert owner is not None
        try:
            params = owner.params(slot)
        except InvalidParams:
            params = {}  # the run that is made of it says so
        return Due(slot + owner.jitter(job, slot), job, slot, params)


def series_text(slots: Sequence[datetime], begin: datetime, end: datetime, zone: ZoneInfo) -> str:
    """Return the times of many slots of a day: ``every 30 min, 08:00 to 18:30`` or ``22 times, 08:00 to 18:30``.

    Args:
        slots: two or more, in order.
        begin: the beginning of the day.
        end: its end.
        zone: the time zone of the text.
    """
    distances = {later - earlier for earlier, later in pairwise(slots)}
    regular = len(distances) == 1
    distance = min(distances)
    times = f"every {distance_text(distance)}" if regular else f"{len(slots)} times"
    if regular and slots[0] - distance < begin and slots[-1] + distance >= end:
        return times
    first, last = (slot.astimezone(zone).strftime("%H:%M") for slot in (slots[0], slots[-1]))
    return f"{times}, {first} to {last}"


def distance_text(distance: timedelta) -> str:
    """Return the time between two runs: ``minute``, ``30 min``, ``hour``, ``90 min``, ``20 s``."""
    seconds = distance / timedelta(seconds=1)
    for unit, one, many in ((3600, "hour", "h"), (60, "minute", "min"), (1, "second", "s")):
        if seconds % unit == 0:
            return one if seconds == unit else f"{seconds / unit:g} {many}"
    return f"{seconds:g} s"
