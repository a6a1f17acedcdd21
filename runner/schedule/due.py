"""Decide which slots run now and which are left out. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from runner._dataclass import dataclass
from runner.schedule.timetable import Timetable

ON_TIME = timedelta(seconds=90)
"""Seconds after which a slot is late: the minute between two ticks, plus half a minute for a busy host."""

MOST_AT_ONCE = 1000
"""The maximum number of slots of one job that are submitted together; the next ones follow at once."""


@dataclass(frozen=True, slots=True)
class Due:
    """The decision about the slots of a job.

    ``run``: the slots and the start times of their runs (later by jitter). ``handled``: the last slot that is finished
    once these are submitted, or None if that is the last of ``run``. ``more``: whether there are more slots to run.
    """

    run: tuple[tuple[datetime, datetime], ...]
    handled: datetime | None
    more: bool = False


def due_slots(job: str, tables: Sequence[Timetable], after: datetime, now: datetime) -> Due:
    """Decide which of the slots with ``after < slot <= now`` run.

    Args:
        job: the name of the job, which determines the jitter.
        tables: its timetables; each decides by its own ``catchup``.
        after: the last slot that was handled, or the time when the schedule came into use.
        now: the time.
    """
    chosen: dict[datetime, Timetable] = {}
    more = False
    for table in tables:
        found = _chosen(table, after, now)
        more |= len(found) > MOST_AT_ONCE
        for candidate in found:
            chosen.setdefault(candidate, table)
    wanted = sorted(chosen)
    if more:
        wanted = wanted[:MOST_AT_ONCE]
    run = tuple((slot, slot + chosen[slot].jitter(job, slot)) for slot in wanted)
    if more:
        return Due(run, None, more=True)
    last = max((slot for table in tables if (slot := table.last(after, now)) is not None), default=None)
    return Due(run, None if wanted and last == wanted[-1] else last)


def _chosen(table: Timetable, after: datetime, now: datetime) -> list[datetime]:
    # A slot that is on time runs, however short the window is: a tick never comes at exactly that time.
    window = max(timedelta(seconds=table.schedule.catchup_window), ON_TIME)
    if table.schedule.catchup == "all":
        found: list[datetime] = []
        for slot in table.slots(max(after, now - window), now):
            found.append(slot)
            if len(found) > MOST_AT_ONCE:
                break
        return found
    if table.schedule.catchup == "none":
        window = ON_TIME
    last = table.last(max(after, now - window), now)
    return [] if last is None else [last]
