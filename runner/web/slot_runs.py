"""What became of the slots of a schedule: the run of each one, and how the runs of a day ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.actions.past_slots import SlotRun, runs_of_slots, schedule_starts
from runner.ledger.reach import reaching
from runner.model.run import State
from runner.schedule.timetable import milliseconds
from runner.web.calendar import DayPlan, Due, series_text

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

HOUR = timedelta(hours=1)
MOST_OF_A_DAY = 300
"""Past slots of one day whose runs are looked up."""
MOST_COUNTED = 300
"""Series of a page whose runs are counted."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A slot that a page shows, and its run, if it has one."""

    due: Due
    past: bool = False
    run: str | None = None
    state: str | None = None
    reason: str | None = None
    missing: bool = False
    """Its time is over, and no run of it is recorded."""


@dataclass(frozen=True, slots=True)
class PlannedSeries:
    """Many runs of a job, and how many of its runs of that time are in each state; none while it is to come."""

    job: str
    text: str
    begin: datetime
    end: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ShownDay:
    """A day of the schedule, with what became of its past slots."""

    plan: DayPlan
    runs: list[PlannedRun]
    more: int
    """Runs after these, which are not shown."""
    series: list[PlannedSeries]


@dataclass(frozen=True, slots=True)
class ShownHour:
    """The runs of one job in an hour: each of them, or a series."""

    job: str
    runs: list[PlannedRun]
    series: PlannedSeries | None = None


def shown_days(ledger: Ledger, plans: Sequence[DayPlan], now: datetime, most: int) -> list[ShownDay]:
    """Return days with the runs of their past slots, ``most`` of each day.

    A past slot from before its schedule existed is left out.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    past = [due for plan in plans for due in [due for due in plan.runs if due.start <= now][:MOST_OF_A_DAY]]
    jobs = {due.job for due in past} | {series.job for plan in plans for series in plan.series}
    history = _History(now, runs_of_slots(ledger, [(due.job, due.slot) for due in past]), schedule_starts(ledger, jobs))
    series = [
        PlannedSeries(found.job, found.text, plan.begin, plan.end, {})
        for plan in plans
        for found in plan.series
        if history.began_before(found.job, plan.end)
    ]
    counted = _counted(ledger, series, now)
    shown = []
    for plan in plans:
        runs = list(islice(history.planned(plan.runs), most))
        # After the last run that is shown, slots to come are counted, and past ones looked at.
        rest = plan.runs[plan.runs.index(runs[-1].due) + 1 :] if runs else []
        more = sum(1 for due in rest if due.start > now or history.shows(due))
        shown.append(ShownDay(plan, runs, more, [found for found in counted if found.begin == plan.begin]))
    return shown


def shown_hours(
    ledger: Ledger, hours: Mapping[datetime, Mapping[str, Sequence[Due]]], now: datetime, zone: ZoneInfo, few: int
) -> dict[datetime, list[ShownHour]]:
    """Return the runs of a day by hour, those of a job as a series if there are more than ``few`` in the hour.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    past = [due for jobs in hours.values() for dues in jobs.values() if len(dues) <= few for due in dues]
    past = [due for due in past if due.start <= now][:MOST_OF_A_DAY]
    names = {job for jobs in hours.values() for job in jobs}
    history = _History(
        now, runs_of_slots(ledger, [(due.job, due.slot) for due in past]), schedule_starts(ledger, names)
    )
    series = [
        PlannedSeries(
            job,
            f"{series_text([due.slot for due in dues], hour, hour + HOUR, zone)}",
            hour,
            hour + HOUR,
            {},
        )
        for hour, jobs in hours.items()
        for job, dues in jobs.items()
        if len(dues) > few and history.began_before(job, hour + HOUR)
    ]
    counted = {(found.begin, found.job): found for found in _counted(ledger, series, now)}
    shown: dict[datetime, list[ShownHour]] = {}
    for hour, jobs in hours.items():
        for job, dues in jobs.items():
            if (found := counted.get((hour, job))) is not None:
                shown.setdefault(hour, []).append(ShownHour(job, [], found))
            elif len(dues) <= few and (planned := list(history.planned(dues))):
                shown.setdefault(hour, []).append(ShownHour(job, planned))
    return shown


@dataclass(frozen=True, slots=True)
class _History:
    """What is known of past slots at ``now``."""

    now: datetime
    runs: Mapping[tuple[str, datetime], SlotRun | None]
    began: Mapping[str, datetime]

    def began_before(self, job: str, moment: datetime) -> bool:
        """Whether the schedule of a job existed before a time, or the time is to come."""
        return moment > self.now or (job in self.began and self.began[job] < moment)

    def shows(self, due: Due) -> bool:
        """Whether a past slot has a run, or could have had one."""
        began = self.began.get(due.job)
        return self.runs.get((due.job, due.slot)) is not None or (began is not None and began < due.slot)

    def planned(self, dues: Sequence[Due]) -> Iterator[PlannedRun]:
        """Yield the slots to show."""
        for due in dues:
            if due.start > self.now:
                yield PlannedRun(due)
            elif self.shows(due):
                key = (due.job, due.slot)
                found = self.runs.get(key)
                yield PlannedRun(due, True, *found) if found else PlannedRun(due, past=True, missing=key in self.runs)


def _counted(ledger: Ledger, series: Sequence[PlannedSeries], now: datetime) -> list[PlannedSeries]:
    """Return series with the counts of their runs, as far as their time has come."""
    begun = [found for found in series if found.begin <= now][:MOST_COUNTED]
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for found in begun:
            for state in State:
                key = ledger.keys.job(found.job, state)
                pipe.zcount(key, milliseconds(found.begin), f"({milliseconds(found.end)}")
        numbers = iter(pipe.execute())
    counts = [{str(state): int(next(numbers)) for state in State} for _ in begun]
    held = {id(found): count for found, count in zip(begun, counts, strict=True)}
    return [replace(found, counts={key: n for key, n in held.get(id(found), {}).items() if n}) for found in series]
