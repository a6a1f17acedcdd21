"""``runner upcoming``."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import field
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from runner._dataclass import dataclass
from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import Clock, show_moment, show_seconds
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, WholeNumber
from runner.cli.terminal.output import Output, table, warn_of_problems
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, params_text
from runner.cli.terminal.show_list import show_list
from runner.errors import Unavailable, UsageError
from runner.model.moment import read_moment
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.skipped import SkippedSlots
    from runner.actions.upcoming import Upcoming
    from runner.model.job import JobSpec
    from runner.schedule.forecast import Forecast, Load

MOST = 100_000
SIMULATED_SECONDS = 86400.0
"""What --simulate looks at without --to."""
SHOWN_OVERLAPS = 20
STYLES = {"MISSED": "red", "PAUSED": "yellow", "NO": "yellow", "EXCEPT": "yellow"}


@verb(example="runner upcoming\nrunner upcoming --to 08:00\nrunner upcoming --simulate")
@click.option("--from", "since", metavar="TIME", help="Only runs from this time on, such as 2026-11-24 or 02:00.")
@click.option("--to", "until", metavar="TIME", help="Only runs until this time, such as 2026-11-25, or the next 06:00.")
@click.option("--job", "-j", type=JOB, help="Only runs of this job.")
@click.option(
    "--all", "every", is_flag=True, help="All runs, not only the next of each job; implied by --job and --to."
)
@click.option(
    "--limit", "-n", type=WholeNumber(1, MOST), default=20, show_default=True, help="The maximum number of runs."
)
@click.option("--simulate", is_flag=True, help="Predict overlaps and load from past run times, by default for a day.")
@list_options()
def command(
    since: str | None,
    until: str | None,
    job: str | None,
    every: bool,
    limit: int,
    simulate: bool,
    options: ListOptions,
) -> int:
    """Show the next run of each scheduled job in order of time, and missed runs.

    MISSED: the run is due, but nobody has submitted it. PAUSED: the job is paused at that time, so the slot is skipped.
    NO WORKER: no live worker takes from the queue, so the run will wait. EXCEPT: except or only of the schedule leaves
    out the slot.
    """
    if simulate and (options.follow or options.form not in (None, "json")):
        raise UsageError("--simulate prints no list", hint="use --json")
    if simulate and every:
        raise UsageError("--simulate looks at all runs anyway", hint="leave out --all")
    project = open_project()
    out = options.output()
    zone = project.settings.timezone
    begin = read_moment(since, zone) if since is not None else None
    end = read_moment(until, zone, begin) if until is not None else None
    if end is not None and end < (time.time() if begin is None else begin):
        raise UsageError("--to is before --from, or in the past", hint="swap or correct them")
    if simulate:
        _warn(out, project)
        return _simulate(out, project, begin, end, job)
    # Without a job or an end, only the next run of each job is listed.
    first = not (every or job is not None or end is not None)
    wanted = _Wanted(begin, end, job, first, limit)

    def read(_changed: Collection[str]) -> Listed[_Entry]:
        project.look()
        _warn(out, project)
        return Listed(_read(out, project, wanted))

    show_list(out, options, _listing(options.clock(out)), read, "no scheduled runs", Pace(3.0))
    return 0


def _warn(out: Output, project: Project) -> None:
    warn_of_problems(out, project)
    if not project.settings.schedules:
        out.note("schedules: false in runner.yaml: nothing is submitted from here")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is listed. Times are Unix times in seconds; ``first``: only the next run of each job."""

    begin: float | None
    end: float | None
    job: str | None
    first: bool
    limit: int


def _read(out: Output, project: Project, wanted: _Wanted) -> list[_Entry]:
    # start-up time: --help reads no settings
    from runner.actions.schedule_table import ScheduleTable
    from runner.actions.skipped import all_skipped
    from runner.actions.upcoming import upcoming

    begin, end, job, limit = wanted.begin, wanted.end, wanted.job, wanted.limit
    found = _missed(out, project, job) if begin is None else []
    faults: dict[str, str] = {}
    rows = ScheduleTable(project.settings)
    ahead = upcoming(project, since=begin, until=end, job=job, faults=faults, first=wanted.first, table=rows)
    coming = list(islice(ahead, limit))
    last = coming[-1].slot if len(coming) == limit else None if end is None else round(end * 1000)
    after = round((time.time() if begin is None else begin) * 1000)
    left_out = all_skipped(project, rows, after, last, limit=limit, job=job, before_next=wanted.first)
    found = _looked_up(out, project, [*found, *coming][:limit])
    _warn_of_faults(out, faults)
    entries = [_Entry.of_run(run) for run in found] + [_Entry.of_skipped(slots) for slots in left_out]
    return sorted(entries, key=lambda entry: entry.order)[:limit]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A run to come, or slots that are left out. Times are Unix milliseconds."""

    order: tuple[bool, int, str]
    """Missed ones come first, whatever their slots."""
    document: dict[str, Any]
    job: JobSpec
    slot: int
    start: int
    marks: str = ""
    until: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Upcoming) -> _Entry:
        order = (not run.missed, run.slot, run.job.name)
        marks = ", ".join(run.marks)
        return cls(order, run.document(), run.job, run.slot, run.start, marks, params=run.params)

    @classmethod
    def of_skipped(cls, slots: SkippedSlots) -> _Entry:
        document: dict[str, Any] = {**slots.document()}
        skipped = {"until": document.pop("until"), "reason": document.pop("reason")}
        document |= {"start": None, "missed": False, "paused": False, "served": None, "id": None}
        document |= {"queue": slots.job.queue, "params": {}, "skipped": skipped}
        marks = f"EXCEPT {one_line(slots.reason.removeprefix('except '))}"
        document["state"] = marks
        order = (True, slots.slot, slots.job.name)
        return cls(order, document, slots.job, slots.slot, slots.slot, marks, slots.until)


def _listing(clock: Clock) -> Listing[_Entry]:
    def start(entry: _Entry) -> str:
        later = (entry.start - entry.slot) / 1000
        return f"+{show_seconds(later)}" if later else ""

    def state(entry: _Entry) -> str:
        until = "" if entry.until is None else f", until {clock.short(to_timestamp(entry.until))}"
        return entry.marks + until

    return Listing(
        [
            Column("SLOT", lambda entry: clock.show(to_timestamp(entry.slot), exact=True)),
            Column("JOB", lambda entry: entry.job.name, flexible=True),
            Column("START", start, priority=4),
            Column("QUEUE", lambda entry: entry.job.queue, priority=3),
            Column("STATE", state, priority=1, flexible=True, styles=STYLES),
            Column(
                "PARAMS",
                lambda entry: one_line(params_text(dict(entry.params)), LONGEST_CELL),
                priority=5,
                flexible=True,
                optional=True,
            ),
        ],
        document=lambda entry: entry.document,
        fields={
            **dict.fromkeys(("job", "slot", "start", "missed", "paused", "served", "id", "queue", "params")),
            "skipped": ("until", "reason"),
            "state": None,
        },
        key=lambda entry: (entry.job.name, entry.slot),
        name=lambda entry: entry.job.name,
    )


def _missed(out: Output, project: Project, job: str | None) -> list[Upcoming]:
    from runner.actions.upcoming import missed  # start-up time: --help reads no jobs

    try:
        return missed(project, job)
    except Unavailable as error:
        out.warn(f"missed runs are not known: {error.message}")
        return []


def _looked_up(out: Output, project: Project, found: list[Upcoming]) -> list[Upcoming]:
    from runner.actions.upcoming import looked_up  # start-up time: --help reads no jobs

    if not found:
        return found
    try:
        return looked_up(project.ledger, found)
    except Unavailable as error:
        out.warn(f"pauses and workers are not known: {error.message}")
        return found


def _warn_of_faults(out: Output, faults: dict[str, str]) -> None:
    for name, fault in faults.items():
        out.warn(f"job {name} is left out, {fault}")


def _simulate(out: Output, project: Project, begin: float | None, end: float | None, job: str | None) -> int:
    from runner.actions.upcoming import simulate, upcoming  # start-up time: --help reads no jobs

    first = time.time() if begin is None else begin
    last = first + SIMULATED_SECONDS if end is None else end
    faults: dict[str, str] = {}
    found = simulate(project, upcoming(project, since=first, until=last, job=job, faults=faults))
    _warn_of_faults(out, faults)
    capacity = dict.fromkeys(found.queues, 0)
    for worker in project.ledger.workers():
        for queue in worker.queues:
            if queue in capacity:
                capacity[queue] += worker.concurrency
    if out.as_json:
        out.document(_document(found, capacity, first, last))
        return 0
    rows = [_load_row(out, name, load, capacity[name]) for name, load in found.queues.items()]
    if not rows:
        out.note("no scheduled runs")
        return 0
    table(out, ("QUEUE", "RUNS", "BUSY", "AT ONCE", "FIRST AT", "WORKERS TAKE"), rows, {})
    for overlap in found.overlaps[:SHOWN_OVERLAPS]:
        slot, until = (show_moment(to_timestamp(moment), utc=out.utc) for moment in (overlap.slot, overlap.busy_until))
        out.data(f"overlap: {overlap.job} at {slot}, while the run before is expected to take until {until}")
    if len(found.overlaps) > SHOWN_OVERLAPS:
        out.data(f"… and {len(found.overlaps) - SHOWN_OVERLAPS} more overlaps")
    if found.unknown:
        shown = ", ".join(found.unknown[:SHOWN_OVERLAPS])
        out.note(f"no run of {shown} has ended yet, so its run time counts as 0")
    return 0


def _load_row(out: Output, queue: str, load: Load, capacity: int) -> tuple[str, ...]:
    at = show_moment(to_timestamp(load.peak_at), utc=out.utc)
    return (queue, str(load.runs), show_seconds(load.busy), str(load.peak), at, str(capacity))


def _document(found: Forecast, capacity: dict[str, int], first: float, last: float) -> dict[str, Any]:
    def figures(load: Load) -> dict[str, Any]:
        return {
            "runs": load.runs,
            "busy_seconds": round(load.busy, 3),
            "peak": load.peak,
            "peak_at": to_timestamp(load.peak_at),
        }

    return {
        "from": to_timestamp(round(first * 1000)),
        "to": to_timestamp(round(last * 1000)),
        "total": figures(found.total),
        "queues": {name: {**figures(load), "capacity": capacity[name]} for name, load in found.queues.items()},
        "overlaps": [
            {"job": overlap.job, "slot": to_timestamp(overlap.slot), "busy_until": to_timestamp(overlap.busy_until)}
            for overlap in found.overlaps
        ],
        "unknown_durations": list(found.unknown),
    }
