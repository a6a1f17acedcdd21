"""Submit due runs: the engine of ``runner tick``, ``runner scheduler``, and ``runner upcoming``.

Any number of hosts may do this at the same time, at any frequency, and be killed at any moment. There is no leader: the
ledger knows the last handled slot of each job, and creates one run per slot, whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.actions.schedule_table import Row, ScheduleTable, fault_text
from runner.actions.submit import submitter
from runner.errors import Refused, UsageError
from runner.ledger.admission import Origin, admit, refused
from runner.ledger.pauses import read_pauses
from runner.ledger.slots import NO_SCHEDULE, Marks, Note, note, read_marks, slot_id
from runner.ledger.together import submit_each
from runner.model.pause import Pause, paused
from runner.model.submit_options import SubmitOptions
from runner.schedule.due import Due, due_slots
from runner.schedule.timetable import from_milliseconds, milliseconds, params_of, timetables

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.catalog.catalog import Catalog
    from runner.hooks.silent import Silences
    from runner.ledger.submission import Submission
    from runner.model.job import JobSpec

TICK_PATIENCE = 45.0
"""Seconds that a tick may spend on the claims of dead workers: less than cron's minute."""

SETTLE_PATIENCE = 10.0
"""Seconds that a tick waits for watched files to settle; the next tick submits the others."""

Clock = Callable[[], int]
"""A function that returns the time (Unix ms)."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """The result of one tick. Times are Unix milliseconds.

    ``now``: the time of the tick. ``next``: the next slot of any job, None if there is none, ``now`` if there is more
    to do at once. ``submitted``: job, slot, and id of each new run. ``files``: job, path, and id of each run for a
    watched file. ``faults``: the errors of computing slots or submitting runs, by job.
    """

    now: int
    next: int | None
    submitted: tuple[tuple[str, int, str], ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    files: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Behind:
    """The due slots that wait for a tick. Times are Unix milliseconds.

    ``now``: the time by which slots are due. ``due``: the first slot of each job that was neither submitted nor
    skipped. ``unseen``: the jobs whose schedules no tick or scheduler has seen yet, so that their slots do not count.
    ``faults``: the reasons why slots cannot be computed on this host, by job.
    """

    now: int
    due: Mapping[str, int]
    unseen: Sequence[str]
    faults: Mapping[str, str] = field(default_factory=dict)


class Engine:
    """Checks the schedules of a project.

    Args:
        project: the project; replace :attr:`catalog` when its files change.
        clock: returns the time; by default Redis' clock, which is the same for all hosts.
    """

    def __init__(self, project: Project, clock: Clock | None = None) -> None:
        self.project = project
        self.catalog: Catalog = project.catalog
        self.clock = clock
        self.table = ScheduleTable(project.settings)
        self.faults: dict[str, str] = {}
        """The errors of single jobs at the last check, by job."""
        self._ahead = 0

    def tick(self, *, all_jobs: bool = True) -> Ticked:
        """Submit due runs.

        Args:
            all_jobs: False checks only the jobs whose next slot has come by the last check. This is enough between
                full checks, which also see runs of other hosts.

        Raises:
            Unavailable: Redis cannot be reached; what was not done is done next time.
        """
        ledger = self.project.ledger
        marks = read_marks(ledger, None if all_jobs else self._ripe())
        now = self._now(marks)
        self.table.follow(self.catalog, now)
        if all_jobs:
            self.faults = {}
        notes = list(self._versions(marks)) if all_jobs else []
        note(ledger, now, [*notes, *(Note(name, slot=now) for name in sorted(marks.damaged & set(self.table.rows)))])
        due = list(self._due(marks, now))
        order = sorted(
            ((slot, name, start) for name, _, found in due for slot, start in found.run),
            key=lambda run: run[:2],
        )
        submissions: list[Submission] = []
        for slot, name, start in order:
            try:
                submissions.append(self._submission(name, milliseconds(slot), milliseconds(start), now))
            except Exception as error:  # noqa: BLE001 - that of one job; the others are submitted
                self._cannot_submit(name, error)
        made = submit_each(ledger, submissions)
        for submission, new in zip(submissions, made, strict=True):
            if isinstance(new, Exception):
                self._cannot_submit(submission.job.name, new)
        # Runs that were not submitted wait for the next full check.
        due = [work for work in due if work[0] not in self.faults]
        note(ledger, now, [Note(name, slot=milliseconds(found.handled)) for name, _, found in due if found.handled])
        more = False
        for name, job, found in due:
            more |= found.more
            self.table.look_from(name, job, milliseconds(found.handled or found.run[-1][0]))
        self.table.save()
        submitted = tuple(
            (submission.job.name, submission.slot, submission.id)
            for submission, new in zip(submissions, made, strict=True)
            if new == "new" and submission.slot is not None
        )
        following = now if more else self.table.next(without=self.faults)
        return Ticked(now, following, submitted, {**self.table.faults, **self.faults})

    def _cannot_submit(self, name: str, error: Exception) -> None:
        self.faults[name] = f"its run cannot be submitted: {type(error).__name__}: {error}"

    def missed(self) -> Iterator[tuple[JobSpec, int, int]]:
        """Yield job, slot, and start of the runs that a tick would submit now, without changing anything."""
        marks = read_marks(self.project.ledger)
        now = self._now(marks)
        self.table.follow(self.catalog, now)
        for _, job, found in self._due(marks, now):
            for slot, start in found.run:
                yield job, milliseconds(slot), milliseconds(start)

    def behind(self) -> Behind:
        """Return the due slots of enabled jobs that no tick has submitted yet. The ledger is not changed.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        marks = read_marks(self.project.ledger)
        now = self._now(marks)
        self.table.follow(self.catalog, now)
        due, unseen = {}, []
        for name, row in list(self.table.rows.items()):
            if not (row.schedule and row.enabled):
                continue
            since = _since(marks, name, row)
            if since is None:
                unseen.append(name)
                continue
            if not row.knows(since):
                row = self.table.look_from(name, self.catalog.jobs[name], since)
            if row.next is not None and row.next <= now:
                due[name] = row.next
        # Frequent checks without ticks do not compute slots twice either.
        self.table.save()
        return Behind(now, due, unseen, self.table.faults)

    def _now(self, marks: Marks) -> int:
        if self.clock is not None:
            return self.clock()
        # How far Redis' clock is ahead of this host's, for times without a query.
        self._ahead = marks.now - round(time.time() * 1000)
        return marks.now

    def _ripe(self) -> list[str]:
        """Return the jobs whose next slot has come."""
        now = round(time.time() * 1000) + self._ahead if self.clock is None else self.clock()
        return [
            name
            for name, row in self.table.rows.items()
            if row.next is not None and row.next <= now and name not in self.faults
        ]

    def _versions(self, marks: Marks) -> Iterator[Note]:
        """Yield changes of the schedules in use, and the entries to keep while hosts disagree."""
        for name, row in self.table.rows.items():
            if row.schedule:
                versions = marks.versions.get(name, ())
                if len(versions) != 1 or versions[0].digest != row.schedule:
                    yield Note(name, row.schedule)
        # A file that cannot be read hides its jobs: they come back as they were.
        if not self.catalog.problems:
            for name in marks.versions:
                if name not in self.table.rows or not self.table.rows[name].schedule:
                    yield Note(name, NO_SCHEDULE)

    def _due(self, marks: Marks, now: int) -> Iterator[tuple[str, JobSpec, Due]]:
        """Yield the work for each job with slots up to ``now``; a job that fails is noted in ``faults``."""
        pauses: dict[str, Pause] | None = None
        for name, row in self.table.rows.items():
            since = _since(marks, name, row)
            if since is None or (row.knows(since) and (row.next is None or row.next > now)):
                continue
            job = self.catalog.jobs[name]
            if not row.knows(since):
                row = self.table.look_from(name, job, since)
            if row.next is None or row.next > now:
                continue
            try:
                tables = timetables(job.schedule, self.table.timezone, self.catalog.calendars)
                found = due_slots(name, tables, from_milliseconds(since), from_milliseconds(now))
            except Exception as error:  # noqa: BLE001 - whatever it is, the schedules of other jobs go on
                self.faults[name] = fault_text(error)
                continue
            if pauses is None:
                pauses = read_pauses(self.project.ledger)
            if not job.enabled or paused(pauses, job.name):
                # What a disabled or paused job leaves out is not caught up with afterwards.
                found = Due((), from_milliseconds(now))
            yield name, job, found

    def _submission(self, name: str, slot: int, start: int, now: int) -> Submission:
        job = self.catalog.jobs[name]
        run_id = slot_id(self.project.ledger.namespace, name, slot)
        origin = Origin(trigger="schedule", submitted_by=submitter(), slot=slot)
        try:
            options = SubmitOptions(at=start / 1000 if start > now else None)
            tables = timetables(job.schedule, self.table.timezone, self.catalog.calendars)
            params = params_of(tables, from_milliseconds(slot))
            return admit(job, params, self.project.settings, run_id=run_id, origin=origin, options=options)
        except (UsageError, Refused) as error:
            return refused(job, error, run_id=run_id, origin=origin)  # a failure that can be seen, as any other


def _since(marks: Marks, name: str, row: Row) -> int | None:
    """Return the Unix ms after which slots of a job are to be handled; None if its schedule was never seen before."""
    for version in marks.versions.get(name, ()):
        if version.digest == row.schedule:
            return max(version.since, marks.last.get(name, 0))
    return None


def tick(project: Project, clock: Clock | None = None) -> Ticked:
    """Submit what is due since the last tick, and do what workers do for all: end what expired, say.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if not project.settings.schedules:
        return Ticked(0, None)
    ticked = Engine(project, clock).tick()
    sweep(project, TICK_PATIENCE)
    return _watch_files(project, ticked)


def _watch_files(project: Project, ticked: Ticked) -> Ticked:
    """Submit runs of watched files, and wait a little for files that have just come."""
    if next(project.catalog.jobs.with_option("watch"), None) is None:
        return ticked
    from runner.triggers.watch import FileWatch  # start-up time: most projects watch no files

    watch = FileWatch(project.ledger, submitter())
    submitted: list[tuple[str, str, str]] = []
    end = time.monotonic() + SETTLE_PATIENCE
    while True:
        looked = watch.look(project.catalog)
        submitted += looked.submitted
        if looked.again is None or time.monotonic() + looked.again > end:
            break
        time.sleep(looked.again)
    return replace(ticked, files=tuple(submitted), faults={**ticked.faults, **looked.faults})


def sweep(project: Project, patience: float = 0.0, silences: Silences | None = None) -> None:
    """End what expired, move what is due to its queue, take back what dead workers held, fire hooks.

    Also on a host without workers. Who does this less often than every third of a lease has some ``patience``.
    """
    hooks = project.ledger.sweep(patience)
    if silences is None and next(project.catalog.jobs.with_option("alert_if_no_success"), None) is not None:
        from runner.hooks.silent import Silences  # start-up time: most projects have no such jobs

        silences = Silences()
    if silences is not None:
        hooks += silences.look(project.ledger, project.catalog)
    if hooks:
        from runner.hooks.fire import fire_hooks  # start-up time: most ticks have none to fire

        fire_hooks(project.ledger, project.catalog, by=submitter())
