"""The scheduled runs to come, in time order; the missed ones; and what they will do to each other."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.actions.schedule_table import ScheduleTable, fault_text
from runner.actions.tick import Engine
from runner.errors import InvalidParams
from runner.ledger.fleet import consumed_queues
from runner.ledger.pauses import read_pauses
from runner.ledger.slots import slot_id
from runner.model.pause import Pause, paused
from runner.model.run import FINAL, to_datetime, to_timestamp
from runner.schedule.forecast import Expected, Forecast, forecast
from runner.schedule.timetable import (
    Timetable,
    from_milliseconds,
    milliseconds,
    next_slot,
    owner_of,
    params_of,
    timetables,
)

if TYPE_CHECKING:
    from datetime import datetime

    from runner.actions.project import Project
    from runner.ledger.store import Store
    from runner.model.job import JobSpec

MOST_SIMULATED = 200_000
"""Runs that a simulation looks at."""
RUNS_OF_HISTORY = 50
"""Finished runs of a job that its expected duration is the median of."""


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A run to come, or one that is missed: due, and not submitted yet. Times are Unix milliseconds.

    ``start`` is later than ``slot`` by jitter. ``paused``: the slot lies in a pause of the job, which leaves it out.
    ``served``: a live worker takes from the job's queue; None if that was not looked at.
    """

    job: JobSpec
    slot: int
    start: int
    id: str
    missed: bool = False
    paused: bool = False
    served: bool | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """What the schedule gives; the defaults of the job are not in it."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Why nothing will come of it, or not at once, in capitals."""
        conditions = (("MISSED", self.missed), ("PAUSED", self.paused), ("NO WORKER", self.served is False))
        return tuple(name for name, holds in conditions if holds)

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "job": self.job.name,
            "slot": to_timestamp(self.slot),
            "start": to_timestamp(self.start),
            "missed": self.missed,
            "paused": self.paused,
            "served": self.served,
            "id": self.id,
            "queue": self.job.queue,
            "params": dict(self.params),
            "state": ", ".join(self.marks) or None,
        }


def upcoming(
    project: Project,
    *,
    since: float | None = None,
    until: float | None = None,
    job: str | None = None,
    faults: dict[str, str] | None = None,
    first: bool = False,
    table: ScheduleTable | None = None,
) -> Iterator[Upcoming]:
    """Yield the runs to come of all enabled jobs in time order, without end if ``until`` is None.

    Args:
        project: whose.
        since: Unix time in seconds; now by default.
        until: Unix time in seconds, included.
        job: only of this job.
        faults: takes, by job, why its runs cannot be computed on this host; such a job is left out.
        first: only the first one of each job.
        table: of the project, to share with others who look at it.

    Raises:
        UnknownJob: there is no such job.
    """
    faults = {} if faults is None else faults
    after = round((time.time() if since is None else since) * 1000)
    last = None if until is None else round(until * 1000)
    table = table or ScheduleTable(project.settings)
    table.follow(project.catalog, after)
    names = [project.catalog.get(job).name] if job is not None else list(table.rows)
    waiting: list[tuple[int, str]] = []
    for name in names:
        row = table.rows.get(name)
        if row is None or not row.schedule or not row.enabled:
            continue
        if not row.knows(after) or (row.skipped is not None and row.skipped <= after):
            row = table.look_from(name, project.catalog.jobs[name], after)
        if row.fault is not None:
            faults[name] = row.fault
        if row.next is not None:
            waiting.append((row.next, name))
    if since is None:
        table.save()  # ticks look at the present, too
    heapq.heapify(waiting)
    tables: dict[str, tuple[Timetable, ...]] = {}
    while waiting:
        slot, name = waiting[0]
        if last is not None and slot > last:
            return
        spec = project.catalog.jobs[name]
        try:
            if name not in tables:
                tables[name] = timetables(spec.schedule, project.settings.timezone, project.catalog.calendars)
            found = _upcoming(project, spec, tables[name], slot)
            following = None if first else next_slot(tables[name], from_milliseconds(slot))
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
    owner = owner_of(tables, moment)
    assert owner is not None
    start = milliseconds(moment + owner.jitter(job.name, moment))
    run_id = slot_id(project.settings.namespace, job.name, slot)
    return Upcoming(job, slot, start, run_id, params=_given(tables, moment))


def _given(tables: Sequence[Timetable], slot: datetime) -> dict[str, Any]:
    try:
        return params_of(tables, slot)
    except InvalidParams:
        return {}  # the run that is made of it says so


def looked_up(store: Store, found: Iterable[Upcoming]) -> list[Upcoming]:
    """Return runs to come with what the ledger knows of them: pauses that hold, and whether a worker takes them.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    pauses, served = read_pauses(store), consumed_queues(store)
    return [
        replace(run, paused=_falls_into(paused(pauses, run.job.name), run.slot), served=run.job.queue in served)
        for run in found
    ]


def _falls_into(pause: Pause | None, slot: int) -> bool:
    return pause is not None and (pause.ends is None or slot < pause.ends)


def next_slots(project: Project, jobs: Sequence[str], after: int | None = None) -> dict[str, int]:
    """Return the next slot of each enabled job that has one, in Unix ms; none where ``schedules`` is false.

    Args:
        project: whose jobs.
        jobs: names of jobs of its catalog.
        after: Unix ms; now by default.
    """
    if not project.settings.schedules:
        return {}
    now = round(time.time() * 1000) if after is None else after
    table = ScheduleTable(project.settings)
    table.follow(project.catalog, now)
    found = {}
    for name in jobs:
        row = table.rows.get(name)
        if row is None or not row.schedule or not row.enabled:
            continue
        if not row.knows(now):
            row = table.look_from(name, project.catalog.jobs[name], now)
        if row.next is not None:
            found[name] = row.next
    table.save()
    return found


def missed(project: Project, job: str | None = None) -> list[Upcoming]:
    """Return the runs that are due, within their catch-up window, and not submitted, in time order.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    namespace, zone = project.settings.namespace, project.settings.timezone
    found = [
        Upcoming(
            spec,
            slot,
            start,
            slot_id(namespace, spec.name, slot),
            missed=True,
            params=_given(timetables(spec.schedule, zone, project.catalog.calendars), from_milliseconds(slot)),
        )
        for spec, slot, start in Engine(project).missed()
        if job is None or spec.name == job
    ]
    return sorted(found, key=lambda run: (run.slot, run.job.name))


def simulate(project: Project, runs: Iterator[Upcoming]) -> Forecast:
    """Predict overlaps and load of ``runs`` by the durations of finished runs in the ledger.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    durations: dict[str, float | None] = {}
    expected = []
    for run in islice(runs, MOST_SIMULATED):
        name = run.job.name
        if name not in durations:
            durations[name] = usual_duration(project, name)
        expected.append(Expected(name, run.job.queue, run.slot, run.start, durations[name]))
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
