"""The scheduled runs to come, in time order; the missed ones; and what they will do to each other."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner.actions.schedule_table import ScheduleTable, fault_text
from runner.actions.tick import Engine
from runner.ledger.slots import slot_id
from runner.model.run import FINAL, to_datetime, to_timestamp
from runner.schedule.forecast import Expected, Forecast, forecast
from runner.schedule.timetable import Timetable, from_milliseconds, milliseconds, next_slot, timetables

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.model.job import JobSpec

MOST_SIMULATED = 200_000
"""Runs that a simulation looks at."""
RUNS_OF_HISTORY = 50
"""Finished runs of a job that its expected duration is the median of."""


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A run to come, or one that is missed: due, and not submitted yet. Times are Unix milliseconds.

    ``start`` is later than ``slot`` by jitter.
    """

    job: JobSpec
    slot: int
    start: int
    id: str
    missed: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "job": self.job.name,
            "slot": to_timestamp(self.slot),
            "start": to_timestamp(self.start),
            "missed": self.missed,
            "id": self.id,
            "queue": self.job.queue,
        }


def upcoming(
    project: Project,
    *,
    since: float | None = None,
    until: float | None = None,
    job: str | None = None,
    faults: dict[str, str] | None = None,
) -> Iterator[Upcoming]:
    """Yield the runs to come of all enabled jobs in time order, without end if ``until`` is None.

    Args:
        project: whose.
        since: Unix time in seconds; now by default.
        until: Unix time in seconds, included.
        job: only of this job.
        faults: takes, by job, why its runs cannot be computed on this host; such a job is left out.

    Raises:
        UnknownJob: there is no such job.
    """
    faults = {} if faults is None else faults
    after = round((time.time() if since is None else since) * 1000)
    last = None if until is None else round(until * 1000)
    table = ScheduleTable(project.settings)
    table.follow(project.catalog, after)
    names = [project.catalog.get(job).name] if job is not None else list(table.rows)
    waiting: list[tuple[int, str]] = []
    for name in names:
        row = table.rows.get(name)
        if row is None or not row.schedule or not row.enabled:
            continue
        if not row.knows(after):
            row = table.look_from(name, project.catalog.jobs[name], after)
        if row.fault is not None:
            faults[name] = row.fault
        if row.next is not None:
            waiting.append((row.next, name))
    heapq.heapify(waiting)
    tables: dict[str, tuple[Timetable, ...]] = {}
    while waiting:
        slot, name = waiting[0]
        if last is not None and slot > last:
            return
        spec = project.catalog.jobs[name]
        try:
            if name not in tables:
                tables[name] = timetables(spec.schedule, project.settings.timezone)
            found = _upcoming(project, spec, tables[name], slot)
            following = next_slot(tables[name], from_milliseconds(slot))
        except Exception as error:  # noqa: BLE001 - whatever it is, the schedules of other jobs go on
            faults[name] = fault_text(error)
            heapq.heappop(waiting)
            continue
        yield found
        if following is None:
            heapq.heappop(waiting)
        else:
            heapq.heapreplace(waiting, (milliseconds(following), name))


def _upcoming(project: Project, job: JobSpec, tables: Sequence[Timetable], slot: int) -> Upcoming:
    moment = from_milliseconds(slot)
    owner = next(each for each in tables if any(each.slots(from_milliseconds(slot - 1), moment)))
    start = milliseconds(moment + owner.jitter(job.name, moment))
    return Upcoming(job, slot, start, slot_id(project.settings.namespace, job.name, slot))


def missed(project: Project, job: str | None = None) -> list[Upcoming]:
    """Return the runs that are due, within their catch-up window, and not submitted, in time order.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    namespace = project.settings.namespace
    found = [
        Upcoming(spec, slot, start, slot_id(namespace, spec.name, slot), missed=True)
        for spec, slot, start in Engine(project).missed()
        if job is None or spec.name == job
    ]
    return sorted(found, key=lambda each: (each.slot, each.job.name))


def simulate(project: Project, runs: Iterator[Upcoming]) -> Forecast:
    """Predict overlaps and load of ``runs`` by the durations of finished runs in the ledger.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    durations: dict[str, float | None] = {}
    expected = []
    for each in islice(runs, MOST_SIMULATED):
        name = each.job.name
        if name not in durations:
            durations[name] = usual_duration(project, name)
        expected.append(Expected(name, each.job.queue, each.slot, each.start, durations[name]))
    return forecast(expected)


def usual_duration(project: Project, job: str) -> float | None:
    """Return the median seconds that the last finished runs of a job took; None if there are none."""
    runs = project.ledger.runs(job=job, states=sorted(FINAL), limit=RUNS_OF_HISTORY)
    taken = [
        (to_datetime(run.finished_at) - to_datetime(run.started_at)).total_seconds()
        for run in runs
        if run.started_at is not None and run.finished_at is not None
    ]
    return statistics.median(taken) if taken else None
