"""Check that the calendars of schedules are declared in ``runner.yaml``."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from runner._dataclass import dataclass
from runner.model.job import JobSpec
from runner.model.message import advise, suggest
from runner.model.option import Path, closest
from runner.model.slot_rule import CALENDAR, calendar_names


@dataclass(frozen=True, slots=True)
class Fault:
    """An unknown calendar in ``job``, at ``path`` below it."""

    job: str
    path: Path
    message: str


def unknown_calendars(job: JobSpec, declared: Collection[str]) -> Iterator[Fault]:
    """Yield a fault for each calendar of a job that is not declared."""
    for index, schedule in enumerate(job.schedule):
        at: Path = ("schedule",) if len(job.schedule) == 1 else ("schedule", index)
        for option, rules in (("except", schedule.excepted), ("only", schedule.only)):
            for number, name in calendar_names(rules):
                if name not in declared:
                    yield Fault(job.name, (*at, option, number), _message(name, declared))


def _message(name: str, declared: Collection[str]) -> str:
    what = f"runner.yaml has no calendar {name}"
    close = closest(name, declared)
    if close is not None:
        return suggest(what, CALENDAR + close, replacement=CALENDAR + close)
    return advise(what, f"add calendars: {{{name}: [2026-12-25]}} there")
