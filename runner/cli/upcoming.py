"""``runner upcoming``."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from runner._dataclass import dataclass
from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment, show_seconds
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, WholeNumber, in_one_form, json_option, jsonl_option, utc_option
from runner.cli.terminal.output import Output, table, warn_of_problems
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, params_text
from runner.errors import Unavailable, UsageError
from runner.model.moment import read_moment
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.skipped import SkippedSlots
    from runner.actions.upcoming import Upcoming
    from runner.schedule.forecast import Forecast, Load

MOST = 100_000
SIMULATED_SECONDS = 86400.0
"""What --simulate looks at without --to."""
SHOWN_OVERLAPS = 20
STYLES = {"MISSED": "red", "PAUSED": "yellow", "NO": "yellow", "EXCEPT": "yellow"}
COLUMNS = ("SLOT", "JOB", "START", "QUEUE", "STATE", "PARAMS")


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
@json_option
@jsonl_option
@utc_option
def command(
    since: str | None,
    until: str | None,
    job: str | None,
    every: bool,
    limit: int,
    simulate: bool,
    as_json: bool,
    jsonl: bool,
    utc: bool,
) -> int:
    """Show the next run of each scheduled job in order of time, and missed runs.

    MISSED: the run is due, but nobody has submitted it. PAUSED: the job is paused at that time, so the slot is skipped.
    NO WORKER: no live worker takes from the queue, so the run will wait. EXCEPT: except or only of the schedule leaves
    out the slot.
    """
    from runner.actions.schedule_table import ScheduleTable  # start-up time: --help reads no settings
    from runner.actions.skipped import all_skipped
    from runner.actions.upcoming import upcoming

    in_one_form(json=as_json, jsonl=jsonl)
    if simulate and jsonl:
        raise UsageError("--simulate prints no list", hint="use --json")
    project = open_project()
    out = Output(as_json=as_json or jsonl, utc=utc)
    warn_of_problems(out, project)
    zone = project.settings.timezone
    begin = read_moment(since, zone) if since is not None else None
    end = read_moment(until, zone, begin) if until is not None else None
    if end is not None and end < (time.time() if begin is None else begin):
        raise UsageError("--to is before --from, or in the past", hint="swap or correct them")
    if not project.settings.schedules:
        out.note("schedules: false in runner.yaml: nothing is submitted from here")
    if simulate and every:
        raise UsageError("--simulate looks at all runs anyway", hint="leave out --all")
    if simulate:
        return _simulate(out, project, begin, end, job)
    found = _missed(out, project, job) if begin is None else []
    faults: dict[str, str] = {}
    first = not (every or job is not None or end is not None)
    rows = ScheduleTable(project.settings)
    ahead = upcoming(project, since=begin, until=end, job=job, faults=faults, first=first, table=rows)
    coming = list(islice(ahead, limit))
    last = coming[-1].slot if len(coming) == limit else None if end is None else round(end * 1000)
    after = round((time.time() if begin is None else begin) * 1000)
    left_out = all_skipped(project, rows, after, last, limit=limit, job=job, before_next=first)
    found = _looked_up(out, project, [*found, *coming][:limit])
    _tell(out, faults)
    entries = [_Entry.of_run(out, each) for each in found] + [_Entry.of_skipped(out, each) for each in left_out]
    shown = sorted(entries, key=lambda each: each.order)[:limit]
    if out.as_json:
        out.listed([each.document for each in shown], as_lines=jsonl)
    elif shown:
        columns = COLUMNS if any(each.params for each in found) else COLUMNS[:-1]
        table(out, columns, [each.row[: len(columns)] for each in shown], STYLES)
    else:
        out.note("no scheduled runs")
    return 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the list, in each form."""

    order: tuple[bool, int, str]
    """Missed ones come first, whatever their slots."""
    document: dict[str, Any]
    row: tuple[str, ...]

    @classmethod
    def of_run(cls, out: Output, each: Upcoming) -> _Entry:
        order = (not each.missed, each.slot, each.job.name)
        return cls(order, each.document(), _row(out, each))

    @classmethod
    def of_skipped(cls, out: Output, each: SkippedSlots) -> _Entry:
        document: dict[str, Any] = {**each.document()}
        skipped = {"until": document.pop("until"), "reason": document.pop("reason")}
        document |= {"start": None, "missed": False, "paused": False, "served": None, "id": None}
        document |= {"queue": each.job.queue, "params": {}, "skipped": skipped}
        slot, until = (show_moment(to_timestamp(moment), utc=out.utc) for moment in (each.slot, each.until))
        state = f"EXCEPT {one_line(each.reason.removeprefix('except '))}, until {until}"
        return cls((True, each.slot, each.job.name), document, (slot, each.job.name, "", each.job.queue, state, ""))


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


def _tell(out: Output, faults: dict[str, str]) -> None:
    for name, fault in faults.items():
        out.warn(f"job {name} is left out, {fault}")


def _row(out: Output, each: Upcoming) -> tuple[str, ...]:
    later = (each.start - each.slot) / 1000
    start = f"+{show_seconds(later)}" if later else ""
    slot = show_moment(to_timestamp(each.slot), utc=out.utc)
    params = one_line(params_text(dict(each.params)), LONGEST_CELL)
    return (slot, each.job.name, start, each.job.queue, ", ".join(each.marks), params)


def _simulate(out: Output, project: Project, begin: float | None, end: float | None, job: str | None) -> int:
    from runner.actions.upcoming import simulate, upcoming  # start-up time: --help reads no jobs

    first = time.time() if begin is None else begin
    last = first + SIMULATED_SECONDS if end is None else end
    faults: dict[str, str] = {}
    found = simulate(project, upcoming(project, since=first, until=last, job=job, faults=faults))
    _tell(out, faults)
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
    for each in found.overlaps[:SHOWN_OVERLAPS]:
        slot, until = (show_moment(to_timestamp(moment), utc=out.utc) for moment in (each.slot, each.busy_until))
        out.data(f"overlap: {each.job} at {slot}, while the run before is expected to take until {until}")
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
    def load(each: Load) -> dict[str, Any]:
        return {
            "runs": each.runs,
            "busy_seconds": round(each.busy, 3),
            "peak": each.peak,
            "peak_at": to_timestamp(each.peak_at),
        }

    return {
        "from": to_timestamp(round(first * 1000)),
        "to": to_timestamp(round(last * 1000)),
        "total": load(found.total),
        "queues": {name: {**load(each), "capacity": capacity[name]} for name, each in found.queues.items()},
        "overlaps": [
            {"job": each.job, "slot": to_timestamp(each.slot), "busy_until": to_timestamp(each.busy_until)}
            for each in found.overlaps
        ],
        "unknown_durations": list(found.unknown),
    }
