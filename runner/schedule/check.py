"""Find the problems of a schedule that only its slots reveal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.model.message import advise, message_of
from runner.model.option import Path, Report
from runner.model.schedule import Schedule
from runner.model.timezone import unknown_zone
from runner.schedule.cron import BadExpression, Cron
from runner.schedule.rules import without_calendars
from runner.schedule.timetable import Timetable

_MOMENT = timedelta(milliseconds=1)
_TWO_DAYS = timedelta(days=2)
_SOME_TIME = datetime(2024, 1, 1, tzinfo=UTC)


def check_schedules(schedules: Sequence[Schedule], written: Any, path: Path, report: Report) -> bool:
    """Report the problems of a job's schedules; return True if there are none.

    Args:
        schedules: as read.
        written: the value in YAML: one schedule or a list.
        path: the path of that value.
        report: takes the problems.
    """
    if not isinstance(written, list):
        return _sound(schedules[0], written, path, report)
    results = [
        _sound(schedule, item, (*path, index), report)
        for index, (schedule, item) in enumerate(zip(schedules, written, strict=True))
    ]
    return all(results)


def _sound(schedule: Schedule, written: Any, path: Path, report: Report) -> bool:
    wrong = unknown_zone(schedule.timezone) if schedule.timezone is not None else None
    if wrong is not None:
        report((*path, "timezone"), wrong)
        return False
    if schedule.cron is not None:
        try:
            Cron(schedule.cron).check_fires()
        except BadExpression as bad:
            report(path if isinstance(written, str) else (*path, "cron"), message_of(bad))
            return False
    if not _one_clock(schedule):
        return True
    # The project's time zone is not known here. The order is the same in all zones.
    table = Timetable(replace(schedule, excepted=(), only=()), "UTC")
    if table.begin is None or table.finish is None:
        return _some_left(schedule, path, report)
    if table.finish < table.begin:
        report(
            (*path, "end"), advise(f"{schedule.end} is before start, {schedule.start}", "swap or correct them", "; ")
        )
        return False
    if schedule.every is not None and schedule.timezone is None:
        return True  # slots of `every` do not depend on the zone, but start and end do
    if next(table.slots(table.begin - _MOMENT, table.finish), None) is None:
        early = advise("is before the first slot, so the schedule never fires", "write a later time", "; ")
        report((*path, "end"), early)
        return False
    return _some_left(schedule, path, report)


def _some_left(schedule: Schedule, path: Path, report: Report) -> bool:
    """Report ``except`` or ``only`` if they leave no slot, whatever their calendars contain."""
    schedule = without_calendars(schedule)
    if not (schedule.excepted or schedule.only):
        return True
    if schedule.every is not None and schedule.timezone is None:
        return True  # the project's zone decides which of its slots lie in a window
    table = Timetable(schedule, schedule.timezone or "UTC")
    dates = [rule for rule in schedule.only if isinstance(rule, str)]
    begin = datetime.fromisoformat(min(dates)).replace(tzinfo=UTC) - _TWO_DAYS if dates else _SOME_TIME
    begin = begin if table.begin is None else min(begin, table.begin - _MOMENT)
    if table.fires(begin):
        return True
    option = "only" if schedule.only else "except"
    shown = "every" if schedule.cron is None else repr(schedule.cron)
    what = f"leaves no slot of {shown}, so the schedule never fires"
    report((*path, option), advise(what, "change one of them", "; "))
    return False


def _one_clock(schedule: Schedule) -> bool:
    """Return whether start and end can be compared without knowing the project's zone."""
    if schedule.timezone is not None:
        return True
    given = [datetime.fromisoformat(text).tzinfo is None for text in (schedule.start, schedule.end) if text]
    return len(set(given)) <= 1
