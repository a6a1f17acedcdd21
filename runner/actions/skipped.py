"""Find the slots that ``except`` and ``only`` of schedules leave out, with the reasons."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.model.run import to_timestamp
from runner.schedule.timetable import from_milliseconds, milliseconds, next_slot, skipped, timetables

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.schedule_table import ScheduleTable
    from runner.model.job import JobSpec

LOOK_BACK = 31 * 86_400_000
"""How far back to search for skipped slots (ms)."""
LOOK_AHEAD = 366 * 86_400_000
"""How far ahead to search for skipped slots by default (ms)."""


@dataclass(frozen=True, slots=True)
class SkippedSlots:
    """Slots of a job that are skipped for one reason: the first one, and the time up to which it holds (Unix ms)."""

    job: JobSpec
    slot: int
    until: int
    reason: str

    def document(self) -> dict[str, str]:
        """Return the JSON document."""
        return {
            "job": self.job.name,
            "slot": to_timestamp(self.slot) or "",
            "until": to_timestamp(self.until) or "",
            "reason": self.reason,
        }


def skipped_slots(project: Project, job: JobSpec, since: int, until: int) -> Iterator[SkippedSlots]:
    """Yield the skipped slots of one job in ``since < slot <= until`` (Unix ms), in order.

    Raises:
        CalendarFault: a calendar cannot be read.
    """
    if not any(schedule.excepted or schedule.only for schedule in job.schedule):
        return
    tables = timetables(job.schedule, project.settings.timezone, project.catalog.calendars)
    for slots in skipped(tables, from_milliseconds(since), from_milliseconds(until)):
        yield SkippedSlots(job, milliseconds(slots.slot), milliseconds(slots.until), slots.reason)


def skipped_around(project: Project, job: JobSpec, since: int, now: int) -> list[SkippedSlots]:
    """Return the last skipped slots after ``since``, and those before the next run (Unix ms).

    Empty if the schedule cannot be computed on this host; ``upcoming`` and the doctor report the reason.
    """
    if not job.enabled:
        return []
    try:
        tables = timetables(job.schedule, project.settings.timezone, project.catalog.calendars)
        following = next_slot(tables, from_milliseconds(now))
        until = now + LOOK_AHEAD if following is None else milliseconds(following)
        past = list(skipped_slots(project, job, max(since, now - LOOK_BACK), now))[-1:]
        coming = [slot for slot in islice(skipped_slots(project, job, now, until), 1) if past[-1:] != [slot]]
    except Exception:  # noqa: BLE001 - an explanation of a run does without it
        return []
    return [*past, *coming]


def all_skipped(
    project: Project,
    table: ScheduleTable,
    since: int,
    until: int | None,
    *,
    limit: int,
    job: str | None = None,
    before_next: bool = False,
) -> list[SkippedSlots]:
    """Return the first skipped slots of all enabled jobs in ``since < slot <= until`` (Unix ms), in order.

    Args:
        project: the project.
        table: its rows, which tell the jobs that need no check.
        since: Unix ms.
        until: Unix ms; None is a year after ``since``.
        limit: the maximum number of slots.
        job: only slots of this job.
        before_next: only slots before the next run of each job.
    """
    end = since + LOOK_AHEAD if until is None else until
    named = table.rows.items() if job is None else [(job, row)] if (row := table.rows.get(job)) is not None else []
    # No slot of a job is skipped before the first one in its row.
    waiting = [(row.first_after(since), name) for name, row in named if row.enabled and row.fault is None]
    found: list[SkippedSlots] = []
    for first, name in sorted((first, name) for first, name in waiting if first is not None and first <= end):
        if len(found) >= limit and _order(found[limit - 1]) < (first, name):
            break
        following = table.rows[name].next
        last = min(end, following) if before_next and following is not None else end
        # A problem with the schedule of one job is reported where its runs are listed.
        with contextlib.suppress(Exception):
            found += islice(skipped_slots(project, project.catalog.jobs[name], since, last), limit)
            found.sort(key=_order)
    return found[:limit]


def _order(slots: SkippedSlots) -> tuple[int, str]:
    return slots.slot, slots.job.name
