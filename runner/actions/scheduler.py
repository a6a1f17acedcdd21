"""The scheduler: a small process that wakes up at the next slot. Any number may run, beside any number of ticks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.actions.project import Project
from runner.actions.submit import submitter
from runner.actions.tick import Engine, Ticked, sweep
from runner.catalog.live import LiveCatalog
from runner.delivery.courier import open_ledger
from runner.errors import RunnerError, Unavailable
from runner.hooks.silent import Silences
from runner.ledger.translation import may_come_back
from runner.model.plural import things
from runner.model.run import to_timestamp
from runner.process.systemd import Watchdog, notify
from runner.settings import load_again
from runner.triggers.watch import WatchThread

if TYPE_CHECKING:
    from runner.catalog.catalog import Catalog
    from runner.settings import Settings

LOOK_SECONDS = 3.0
"""Seconds between two checks of the files."""
FULL_LOOK_SECONDS = 60.0
"""Seconds between two checks of all jobs in the ledger; in between, only jobs whose next slot has come are checked."""
LONGEST_BACK_OFF = 30.0
"""Seconds between two attempts to reach Redis."""

_NOTHING_KEPT = "jobs that name it are left out"

_TOLD = 20
"""The maximum number of runs that the log names."""

Say = Callable[[str], None]


class Scheduler:
    """Submits due runs, one step per call.

    Args:
        project: the project.
        say: takes a line for the log.
    """

    def __init__(self, project: Project, say: Say) -> None:
        self._project = project
        self._say = say
        self._settings_seen = _settings_files(project.settings)
        self._engine = Engine(project)
        self._silences = Silences()
        self._live = LiveCatalog(project.settings, project.catalog)
        self._next: float | None = None
        self._looked = self._swept = self._listed = float("-inf")
        self._failures = 0
        self._ready = False
        self._faults: dict[str, str] = {}
        self._watch = WatchThread(
            lambda: open_ledger(self._project.settings), lambda: self._engine.catalog, submitter(), say
        )
        self._calendar_faults: dict[str, str] = {}
        # Read now, so that there is a last good state.
        self._read_calendars(project.catalog)

    def run(self, parent: int | None = None) -> None:
        """Run until an exception ends it (such as that of SIGTERM).

        Args:
            parent: the process id of the parent; the scheduler ends when it is no longer the parent.

        Raises:
            Unavailable: see :meth:`step`.
        """
        try:
            self._run(parent)
        finally:
            self._watch.end()

    def _run(self, parent: int | None) -> None:
        watchdog = Watchdog()
        while parent is None or os.getppid() == parent:
            pause = self.step()
            if self._ready and self._watch.ident is None:
                self._watch.start()
            end = time.monotonic() + pause
            while (left := end - time.monotonic()) > 0:
                watchdog.pet()
                time.sleep(min(left, LOOK_SECONDS))
                if parent is not None and os.getppid() != parent:
                    return

    def step(self) -> float:
        """Submit due runs, and return the seconds until the next step.

        Raises:
            Unavailable: Redis cannot be reached, has not been reached yet, and waiting would not help.
        """
        try:
            self._notice_changes()
            self._work()
        except Unavailable as error:
            if not self._ready and not may_come_back(error):
                raise  # a wrong password, or an embedded server that does not start: waiting would not help
            return self._wait_for_redis(error)
        if self._failures:
            self._say("Redis is back")
            self._failures = 0
        if not self._ready:
            self._ready = True
            notify("READY=1")
            self._say(f"ready: {self._summary()}")
        return self._pause()

    def _work(self) -> None:
        if self._project.settings.schedules:
            full = time.monotonic() - self._looked >= FULL_LOOK_SECONDS
            if full or (self._next is not None and time.time() >= self._next):
                self._tick(full=full or bool(self._failures))
        if time.monotonic() - self._swept >= self._sweep_every():
            sweep(self._project, silences=self._silences)
            self._swept = time.monotonic()

    def _tick(self, *, full: bool) -> None:
        ticked = self._engine.tick(all_jobs=full)
        if full:
            self._looked = time.monotonic()
        self._next = self._by_this_clock(ticked)
        for job, fault in ticked.faults.items():
            if self._faults.get(job) != fault:
                self._say(f"job {job} is left out, {fault}")
        self._faults = dict(ticked.faults)
        for job, slot, run_id in ticked.submitted[:_TOLD]:
            self._say(f"submitted {job} for {to_timestamp(slot)}: {run_id}")

        if len(ticked.submitted) > _TOLD:
            self._say(f"and {len(ticked.submitted) - _TOLD} more")

    def _by_this_clock(self, ticked: Ticked) -> float | None:
        # The engine uses Redis' clock, but sleeping uses this host's, which may be off.
        return None if ticked.next is None else time.time() + (ticked.next - ticked.now) / 1000

    def _sweep_every(self) -> float:
        # Within a third of a lease, or sweeps would look like an outage of Redis, after which no claim is reclaimed.
        return min(LOOK_SECONDS, self._project.settings.worker.lease / 4)

    def _pause(self) -> float:
        pause = self._sweep_every()
        if self._next is not None and self._project.settings.schedules:
            pause = min(pause, self._next - time.time())
        return max(pause, 0.0)

    def _wait_for_redis(self, error: Unavailable) -> float:
        pause = min(2.0**self._failures, LONGEST_BACK_OFF)
        if not self._failures:
            self._say(f"{error.message}; waiting for it")
            notify("STATUS=waiting for Redis")
        self._failures += 1
        # Other schedulers may have submitted runs meanwhile.
        self._looked = float("-inf")
        return pause

    def _summary(self) -> str:
        if not self._project.settings.schedules:
            return "schedules: false in runner.yaml, nothing is submitted from here"
        rows = [row for row in self._engine.table.rows.values() if row.schedule]
        return things(len(rows), "scheduled job")

    # -- changes of files

    def _notice_changes(self) -> None:
        if time.monotonic() - self._listed < LOOK_SECONDS:
            return
        self._listed = time.monotonic()
        try:
            self._read_settings()
        except Unavailable:
            raise
        except RunnerError as error:
            self._say(f"{error.message}; going on with what was read before")
        if self._live.look():
            self._take_over(self._live.catalog)

    def _read_settings(self) -> None:
        found = _settings_files(self._project.settings)
        if found == self._settings_seen:
            return
        self._settings_seen = found
        project = Project(load_again(self._project.settings))
        project.catalog.calendars.keep(self._live.catalog.calendars)
        live = LiveCatalog(project.settings, project.catalog)
        self._project.ledger.close()
        self._project, self._engine, self._live = project, Engine(project), live
        self._watch.renew()
        self._take_over(project.catalog)

    def _take_over(self, catalog: Catalog) -> None:
        self._engine.catalog = catalog
        self._looked = float("-inf")
        self._say(f"files have changed: {_problems(catalog)}")
        self._read_calendars(catalog)

    def _read_calendars(self, catalog: Catalog) -> None:
        faults = catalog.calendars.read_all()
        for name, fault in faults.items():
            if self._calendar_faults.get(name) != fault:
                kept = "what was read before stays in force" if catalog.calendars.has(name) else _NOTHING_KEPT
                self._say(f"calendar {name} cannot be read: {fault}; {kept}")
        self._calendar_faults = faults


def _problems(catalog: Catalog) -> str:
    if not catalog.problems:
        return f"{len(catalog.jobs)} jobs"
    return f"{len(catalog.jobs)} jobs, and problems that runner validate lists: {catalog.problems[0]}"


def _settings_files(settings: Settings) -> object:
    """Return a value that changes whenever runner.yaml or the file named by ``RUNNER_ENV`` changes."""
    return [_signature(file) for file in sorted({settings.project / "runner.yaml", *settings.files})]


def _signature(file: Path) -> object:
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
