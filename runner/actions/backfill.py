"""Run a job for past slots, as one group."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runner._dataclass import dataclass
from runner.actions.submit import submitter
from runner.errors import InvalidParams, JobDisabled, JobPaused, UsageError
from runner.ledger.admission import Origin, admit, refused
from runner.ledger.backfills import (
    Backfill,
    backfill_id,
    begin_backfill,
    find_backfill,
    have_run,
    read_backfills,
    revoke_backfill,
)
from runner.ledger.pauses import read_pauses
from runner.ledger.refusals import paused as refuse_paused
from runner.ledger.search import search
from runner.ledger.slots import slot_id
from runner.ledger.together import submit_each
from runner.model.moment import read_day, read_moment
from runner.model.pause import paused
from runner.model.run import State, to_timestamp
from runner.model.run_query import RunQuery
from runner.schedule.coverage import CalendarFault
from runner.schedule.timetable import Timetable, from_milliseconds, merged, milliseconds, params_of, timetables
from runner.schedule.zone import first_instant

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from runner.actions.project import Project
    from runner.ledger.submission import Submission
    from runner.model.job import JobSpec

MOST_SLOTS = 100_000
"""The maximum number of slots of one backfill."""
MOST_AT_ONCE = 10_000
_PORTION = 1000
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of a backfill (Unix ms), with the id and the params of its run. ``known``: whether it had a run before."""

    slot: int
    id: str
    params: dict[str, Any]
    known: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {"slot": to_timestamp(self.slot), "id": self.id, "params": self.params, "known": self.known}


@dataclass(frozen=True, slots=True)
class Backfilled:
    """A backfill, its slots, and the number of new runs. ``ahead``: whether the range extends into the future."""

    backfill: Backfill
    slots: tuple[Slot, ...]
    submitted: int
    ahead: bool
    dry_run: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            **{name: self.backfill.document()[name] for name in ("id", "job", "from", "to", "at_once", "again")},
            "dry_run": self.dry_run,
            "submitted": self.submitted,
            "skipped": sum(slot.known for slot in self.slots),
            "slots": [slot.document() for slot in self.slots],
        }


def backfill(
    project: Project,
    job_name: str,
    begin: str,
    end: str,
    *,
    at_once: int | None = None,
    again: bool = False,
    dry_run: bool = False,
    by: str | None = None,
) -> Backfilled:
    """Submit a run for each slot of a job in a range without a run, and return the ids and counts.

    The caller may be killed at any moment: a second call submits the rest, and each slot has one run. The fleet runs
    them in the order of their slots, ``at_once`` at a time.

    Args:
        project: the project of the job.
        job_name: the job, which must have a schedule.
        begin: the first date or time, in the zone of the schedule.
        end: the last date or time, inclusive; a date means its end. Future slots are left to the schedule.
        at_once: the maximum number of simultaneous runs; by default the job's limit.
        again: submit new runs for slots that had one.
        dry_run: change nothing.
        by: the name of the person; ``user@host`` by default.

    Raises:
        UnknownJob, UsageError: the job does not exist, has no schedule, or uses an unreadable calendar; or a time is
            invalid.
        JobDisabled, JobPaused: the job is disabled or paused. If it was paused meanwhile, some runs may be submitted.
        Unavailable: Redis cannot be reached; some runs may be submitted.
    """
    job = project.catalog.get(job_name)
    if not job.schedule:
        raise UsageError(f"job {job.name} has no schedule, so there are no slots", hint="give it one, or use submit")
    if at_once is not None and not 1 <= at_once <= MOST_AT_ONCE:
        raise UsageError(f"at once {at_once} is out of range", hint=f"use 1 to {MOST_AT_ONCE:,}")
    tables = _tables(project, job)
    first, last = _range(tables, begin, end)
    now = from_milliseconds(round(time.time() * 1000))
    times = [milliseconds(first), milliseconds(last)]
    namespace = project.settings.namespace
    wanted = Backfill(
        id=str(uuid4()) if again else backfill_id(namespace, job.name, *times),
        job=job.name,
        begin=times[0],
        end=times[1],
        slots=0,
        at_once=at_once,
        again=again,
        by=by or submitter(),
        ended={},
    )
    slots = _slots(project, job, tables, first, min(last, now), wanted)
    wanted = replace(wanted, slots=len(slots))
    left = [slot for slot in slots if not slot.known]
    ahead = last > now
    if dry_run or not left:
        return Backfilled(wanted, tuple(slots), 0, ahead, dry_run)
    _check_open(project, job)
    begin_backfill(project.ledger, wanted)
    submitted = 0
    for number in range(0, len(left), _PORTION):
        portion = [_submission(project, job, slot, wanted) for slot in left[number : number + _PORTION]]
        made = submit_each(project.ledger, portion)
        for fault in (outcome for outcome in made if isinstance(outcome, Exception)):
            raise fault
        submitted += made.count("new")
        if "paused" in made:
            _check_open(project, job)
            raise JobPaused(f"job {job.name} was paused meanwhile", hint="repeat the command")
    return Backfilled(wanted, tuple(slots), submitted, ahead)


def _tables(project: Project, job: JobSpec) -> tuple[Timetable, ...]:
    try:
        return timetables(job.schedule, project.settings.timezone, project.catalog.calendars)
    except CalendarFault as fault:
        raise UsageError(
            f"the slots of job {job.name} are not known: {fault}", hint="runner validate says where it is named"
        ) from None


def _range(tables: tuple[Timetable, ...], begin: str, end: str) -> tuple[datetime, datetime]:
    # With several zones, use that of the first schedule.
    zone = tables[0].zone
    first = _day(begin, zone) or _instant(begin, zone, datetime.now(zone) - timedelta(days=1))
    day_after = _day(end, zone, 1)
    last = day_after - _MILLISECOND if day_after is not None else _instant(end, zone, first)
    if last < first:
        raise UsageError(f"{end} lies before {begin}", hint="swap or correct them")
    return first, last


def _day(text: str, zone: ZoneInfo, later: int = 0) -> datetime | None:
    """Return the first instant of a date, or of the date ``later`` days after it; None if the text is not a date."""
    if not _DATE.fullmatch(text.strip()):
        return None
    wall = datetime.combine(read_day(text), datetime.min.time()) + timedelta(days=later)
    return first_instant(wall, zone) or wall.replace(tzinfo=zone).astimezone(UTC)


def _instant(text: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the instant for a text; a time of day means the next one after ``after``."""
    return datetime.fromtimestamp(read_moment(text, zone.key, after.timestamp()), UTC)


def _slots(
    project: Project, job: JobSpec, tables: tuple[Timetable, ...], first: datetime, last: datetime, wanted: Backfill
) -> list[Slot]:
    found = list(islice(merged(tables, first - _MILLISECOND, last), MOST_SLOTS + 1))
    if len(found) > MOST_SLOTS:
        raise UsageError(f"the range has more than {MOST_SLOTS:,} slots", hint="ask for a shorter one at a time")
    namespace = project.settings.namespace
    times = [(milliseconds(at), slot_id(namespace, job.name, milliseconds(at))) for at in found]
    known = [False] * len(times) if wanted.again else have_run(project.ledger, job.name, times)
    return [
        Slot(slot, _again_id(wanted, slot) if wanted.again else run_id, _params(tables, at), had_one)
        for at, (slot, run_id), had_one in zip(found, times, known, strict=True)
    ]


def _again_id(wanted: Backfill, slot: int) -> str:
    return slot_id(wanted.id, wanted.job, slot)


def _params(tables: tuple[Timetable, ...], slot: datetime) -> dict[str, Any]:
    try:
        return params_of(tables, slot)
    except InvalidParams:
        return {}  # the run reports it, as for any other invalid value


def _check_open(project: Project, job: JobSpec) -> None:
    if not job.enabled:
        raise JobDisabled(f"job {job.name} is disabled", hint=f"set enabled: true in {job.file}, line {job.line}")
    if (pause := paused(read_pauses(project.ledger), job.name)) is not None:
        raise refuse_paused(job.name, pause)


def _submission(project: Project, job: JobSpec, slot: Slot, wanted: Backfill) -> Submission:
    origin = Origin(
        trigger="backfill",
        submitted_by=wanted.by,
        slot=slot.slot,
        backfill=wanted.id,
        at_once=wanted.at_once,
        again=wanted.again,
    )
    try:
        return admit(job, slot.params, project.settings, run_id=slot.id, origin=origin)
    except InvalidParams as error:
        return refused(job, error, run_id=slot.id, origin=origin)


def backfills(project: Project, limit: int) -> list[Backfill]:
    """Return the last backfills, newest first.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return read_backfills(project.ledger, limit)


def revoke_all(
    project: Project,
    reference: str,
    *,
    terminate: bool = False,
    signal: str = "TERM",
    comment: str | None = None,
    by: str | None = None,
) -> tuple[Backfill, int, int]:
    """Revoke the unfinished runs of a backfill; return it, and the numbers of runs that ended and that go on.

    Raises:
        UnknownRun, AmbiguousId: the reference matches no backfill, or several.
        UsageError: the signal is unknown.
        Unavailable: Redis cannot be reached; some runs may be revoked.
    """
    ledger = project.ledger
    found = find_backfill(ledger, reference)
    who = by or submitter()
    revoke_backfill(ledger, found.id, by=who, comment=comment)
    ended = going_on = 0
    for run_id in _unfinished(project, found):
        run, changed = ledger.revoke(run_id, by=who, comment=comment, terminate=terminate, signal=signal)
        ended += changed and run.final
        going_on += not run.final
    return find_backfill(ledger, found.id), ended, going_on


def _unfinished(project: Project, found: Backfill) -> Iterator[str]:
    """Yield the unfinished runs of a backfill, last to start first."""
    query = RunQuery(job=found.job, backfill=found.id, state=(State.PENDING, State.RETRY, State.STARTED))
    cursor: str | None = None
    while True:
        page = search(project.ledger, query, limit=_PORTION, cursor=cursor)
        yield from (run.id for run in page.runs)
        cursor = page.cursor
        if cursor is None:
            return
