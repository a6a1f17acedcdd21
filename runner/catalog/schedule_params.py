"""Check the params that schedules set against those that the job declares. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runner.model.message import advise, suggest
from runner.model.option import Path, Report, closest
from runner.model.param import Param
from runner.model.schedule import Schedule
from runner.model.slot_template import has_placeholders, resolve
from runner.params.check import fits

_TRIED = (2024, 2026, 2028, 2033, 2040)
"""The first slot of each of these years is tried, because a value may be valid for some slots only."""
_ANY_SLOT = datetime(2024, 1, 1, tzinfo=UTC)


def check_schedule_params(
    params: Mapping[str, Param], schedules: Sequence[Schedule], written: Any, path: Path, report: Report
) -> bool:
    """Report the invalid params of schedules; return whether there are none.

    Args:
        params: those that the job declares.
        schedules: the schedules, which are valid by themselves.
        written: the schedules as written in YAML: one, or a list.
        path: the path of ``written``.
        report: records the problems.
    """
    paths = [(*path, number) for number in range(len(schedules))] if isinstance(written, list) else [path]
    results = [_fits(params, schedule, at, report) for schedule, at in zip(schedules, paths, strict=True)]
    return all(results)


def _fits(params: Mapping[str, Param], schedule: Schedule, path: Path, report: Report) -> bool:
    sound = True
    for name in schedule.params:
        if name not in params:
            what, close = f"{name} is not a param of the job", closest(name, params)
            fits_there = close is not None and close not in schedule.params
            message = suggest(what, close, replacement=close if fits_there else "") if close else None
            report((*path, "params", name), message or advise(what, "declare it under params"), on_key=True)
            sound = False
    missing = [name for name, param in params.items() if param.required and name not in schedule.params]
    if missing:
        shown = ", ".join(missing)
        remedy = f"add params: {{{missing[0]}: …}} to the schedule, or give {missing[0]} a default"
        report(path, advise(f"the job requires {shown}, which the schedule does not set", remedy))
        sound = False
    for name, value in schedule.params.items():
        fault = _fault(params[name], schedule, value) if name in params else None
        if fault is not None:
            report((*path, "params", name), fault)
            sound = False
    return sound


def _fault(param: Param, schedule: Schedule, value: Any) -> str | None:
    """Return the message about a value that is invalid for all slots that are tried, or None."""
    if not has_placeholders(value):
        fault = fits(param, resolve(value, _ANY_SLOT))
        return None if fault is None else advise(f"is not valid for the param: {fault}", "correct it", "; ")
    first: str | None = None
    for slot in _tried(schedule):
        try:
            given = resolve(value, slot)
        except (OverflowError, ValueError):
            return advise("the offset leads out of the calendar", "write a smaller one")
        fault = fits(param, given)
        if fault is None:
            return None
        what = f"is not valid for the param: {fault}"
        text_fits = isinstance(given, int) and fits(param, str(given)) is None
        remedy = "use a format, such as ${run.slot | %Y}" if text_fits else "correct it"
        first = first or advise(what, remedy, "; ")
    return first


def _tried(schedule: Schedule) -> Iterator[datetime]:
    from runner.schedule.rules import without_calendars  # start-up time: most commands read the cache
    from runner.schedule.timetable import Timetable

    table = Timetable(without_calendars(schedule), "UTC")
    for year in _TRIED:
        slot = table.next(datetime(year, 1, 1, tzinfo=UTC))
        if slot is None:
            return
        yield slot.astimezone(table.zone)
