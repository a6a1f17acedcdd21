"""Submit one run for each version of a watched file.

Schedulers, workers, and ticks do this at the same time, on any number of hosts, and may be killed at any moment. The
idempotency key is made from the file's name, inode, time, and size, so each version gets exactly one run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from runner._dataclass import dataclass
from runner.errors import RunnerError, Unavailable, UsageError
from runner.ledger.admission import Origin, admit, refused
from runner.ledger.ledger import Ledger
from runner.ledger.pauses import read_pauses
from runner.ledger.submission import Submission
from runner.ledger.together import submit_each
from runner.model.pause import paused
from runner.model.submit_options import SubmitOptions
from runner.model.watch import PARAM
from runner.triggers.files import MOST_FILES, Found, WatchFault, find_files, seconds_left

if TYPE_CHECKING:
    from runner.catalog.catalog import Catalog
    from runner.model.job import JobSpec

KEEP_SECONDS = 30 * 86400.0
"""Seconds that the ledger remembers the run of a version after the file was last seen; ``retention.key`` if longer."""

RENEW_SECONDS = 12 * 3600.0
"""Seconds between renewals of that memory for files that still exist."""

LOOK_SECONDS = 1.0
LOOK_SHARE = 20
"""Seconds between two checks; with many files, checks may take a twentieth of the time."""

LONGEST_BACK_OFF = 30.0
"""Seconds between two attempts to reach Redis."""

_PORTION = 1000
_RUNS = UUID("5c1c1b0f-6a5e-5b0e-8a43-6a2d7e0c9b51")
"""The namespace of the ids of runs for watched files (RFC 9562, version 5)."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of one check of the watched files.

    ``submitted``: job, path, and id of each new run. ``faults``: by job, the reason why its files get no runs.
    ``again``: the seconds until the next file may have settled; None if all files are settled.
    """

    submitted: tuple[tuple[str, str, str], ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    again: float | None = None


@dataclass(slots=True)
class _Files:
    """The observations of a process about the files of one job, by key. Times are those of ``time.monotonic``.

    ``done``: when the ledger last recorded that a version has its run. ``unchanged``: since when a version without a
    run has been there.
    """

    done: dict[str, float] = field(default_factory=dict)
    unchanged: dict[str, float] = field(default_factory=dict)


class FileWatch:
    """Checks the watched files of a project.

    Args:
        ledger: of the project.
        by: the name of this process, for ``submitted_by``.
    """

    def __init__(self, ledger: Ledger, by: str) -> None:
        self._ledger = ledger
        self._by = by
        self._seen: dict[str, _Files] = {}

    def look(self, catalog: Catalog) -> Looked:
        """Submit a run for each file that has settled since the last call.

        Raises:
            Unavailable: Redis cannot be reached; files without a run are submitted next time.
        """
        settings = self._ledger.settings
        if not settings.schedules:
            return Looked()
        faults: dict[str, str] = {}
        ready: list[tuple[JobSpec, Found]] = []
        again: list[float] = []
        jobs = [job for name in catalog.jobs.with_option("watch") if (job := catalog.jobs[name]).enabled]
        self._seen = {job.name: self._seen.get(job.name) or _Files() for job in jobs}
        for job in jobs:
            assert job.watch is not None
            try:
                found, more = find_files(job.watch, settings.project)
            except (WatchFault, OSError, ValueError) as fault:
                faults[job.name] = f"its files cannot be checked: {fault}"
                continue
            if more:
                faults[job.name] = f"{job.watch.path} names more than {MOST_FILES:,} files: move those that are done"
            for file, left in self._without_run(job, job.watch.settle, found):
                if left <= 0:
                    ready.append((job, file))
                else:
                    again.append(left)
        submitted = self._submit(ready, faults)
        return Looked(tuple(submitted), faults, min(again, default=None))

    def _without_run(self, job: JobSpec, settle: float, found: Sequence[Found]) -> Sequence[tuple[Found, float]]:
        """Return the files whose version has no run, with the seconds until each has settled."""
        seen, now, wall = self._seen[job.name], time.monotonic(), time.time()
        files = {file.key: file for file in found}
        seen.done = {key: at for key, at in seen.done.items() if key in files}
        seen.unchanged = {key: at for key, at in seen.unchanged.items() if key in files}
        asked = [key for key in files if now - seen.done.get(key, -RENEW_SECONDS) >= RENEW_SECONDS]
        keep = round(max(KEEP_SECONDS, self._ledger.settings.retention.key) * 1000)
        for first in range(0, len(asked), _PORTION):
            portion = asked[first : first + _PORTION]
            known = self._ledger.script("watched", job.name, keep, *portion)
            seen.done.update({key: now for key, there in zip(portion, known, strict=True) if int(there)})
        waiting = [key for key in asked if key not in seen.done]
        return [
            (
                files[key],
                seconds_left(settle, now - seen.unchanged.setdefault(key, now), files[key].changed_at, wall),
            )
            for key in waiting
        ]

    def _submit(self, ready: Sequence[tuple[JobSpec, Found]], faults: dict[str, str]) -> Sequence[tuple[str, str, str]]:
        if not ready:
            return ()
        pauses = read_pauses(self._ledger)
        # The files of a paused job wait until it is resumed.
        ready = [(job, file) for job, file in ready if not paused(pauses, job.name)]
        asked: list[tuple[JobSpec, Found, Submission]] = []
        for job, file in ready:
            try:
                asked.append((job, file, self._submission(job, file)))
            except Exception as error:  # noqa: BLE001 - an error of one job; the files of the others are submitted
                faults[job.name] = f"the run of {file.name!r} cannot be submitted: {type(error).__name__}: {error}"
        verdicts = submit_each(self._ledger, [submission for _, _, submission in asked])
        made = []
        now = time.monotonic()
        for (job, file, submission), verdict in zip(asked, verdicts, strict=True):
            if isinstance(verdict, Exception):
                faults[job.name] = f"the run of {file.name!r} cannot be submitted: {verdict}"
            elif verdict != "paused":
                self._seen[job.name].done[file.key] = now
                if verdict == "new":
                    made.append((job.name, file.path, submission.id))
        return made

    def _submission(self, job: JobSpec, file: Found) -> Submission:
        run_id = str(uuid5(_RUNS, f"{self._ledger.namespace}\n{job.name}\n{file.key}"))
        origin = Origin(trigger="watch", submitted_by=self._by)
        settings = self._ledger.settings
        try:
            file.path.encode()
        except UnicodeEncodeError:
            raise UsageError("the name of the file is not UTF-8", hint="rename it") from None
        options = SubmitOptions(key=file.key)
        keep = max(KEEP_SECONDS, settings.retention.key)
        try:
            return admit(
                job, {PARAM: file.path}, settings, run_id=run_id, origin=origin, options=options, keep_key=keep
            )
        except UsageError as error:
            # Recorded as a failed run, like every submission without a caller to report to.
            return refused(job, error, run_id=run_id, origin=origin, key=file.key, keep_key=keep)


class WatchThread(threading.Thread):
    """Checks watched files until it is ended. It is a thread because a file system may hang.

    Args:
        open_ledger: returns a ledger for this thread, with the settings in force.
        catalog: returns the catalog in force.
        by: the name of this process, for ``submitted_by``.
        say: takes a line for the log.
    """

    def __init__(
        self, open_ledger: Callable[[], Ledger], catalog: Callable[[], Catalog], by: str, say: Callable[[str], None]
    ) -> None:
        super().__init__(name="runner-watch", daemon=True)
        self._open_ledger = open_ledger
        self._catalog = catalog
        self._by = by
        self._say = say
        self._over = threading.Event()
        self._watch: FileWatch | None = None
        self._read: Catalog | None = None
        self._any = False
        """Whether a job of the last catalog has a watch."""
        self._faults: Mapping[str, str] = {}
        self._failures = 0

    def end(self) -> None:
        """Tell the thread to end soon."""
        self._over.set()

    def run(self) -> None:
        """Check the files until :meth:`end` is called."""
        pause = 0.0
        while not self._over.wait(pause):
            before = time.monotonic()
            catalog = self._catalog()
            if catalog is not self._read:
                self._read, self._any = catalog, next(catalog.jobs.with_option("watch"), None) is not None
            if not self._any:
                pause = LOOK_SECONDS
                continue
            pause = self._look(catalog) or max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - before))

    def renew(self) -> None:
        """Open a new ledger before the next check, because the settings have changed."""
        self._watch = None

    def _look(self, catalog: Catalog) -> float | None:
        """Check once; return the seconds until the next check, or None for the usual interval."""
        try:
            watch = self._watch
            if watch is None:
                watch = self._watch = FileWatch(self._open_ledger(), self._by)
            looked = watch.look(catalog)
        except Unavailable as error:
            if not self._failures:
                self._say(f"watched files wait: {error.message}")
            self._failures += 1
            return float(min(2.0**self._failures, LONGEST_BACK_OFF))
        except RunnerError as error:
            self._say(f"watched files cannot be checked: {error.message}")
            return LONGEST_BACK_OFF
        except Exception as error:  # noqa: BLE001 - after any error, files are checked again
            self._say(f"watched files could not be checked: {type(error).__name__}: {error}")
            return LONGEST_BACK_OFF
        self._failures = 0
        for job, path, run_id in looked.submitted:
            self._say(f"submitted {job} for {path!r}: {run_id}")
        for job, fault in looked.faults.items():
            if self._faults.get(job) != fault:
                self._say(f"job {job}: {fault}")
        self._faults = looked.faults
        return None if looked.again is None else max(0.05, min(looked.again, LOOK_SECONDS))
