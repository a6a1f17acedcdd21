"""The next slot of each scheduled job, kept on this host so that a tick need not compute thousands of them.

``.runner/cache/schedules.json`` is a convenience, as the cache of the catalog is: whatever is odd about it makes it as
good as absent, and what is due is decided by the ledger.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import zoneinfo
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner._version import __version__
from runner.schedule.timetable import digest_of, from_milliseconds, milliseconds, next_slot, timetables

if TYPE_CHECKING:
    from runner.model.job import JobSpec
    from runner.settings import Settings
    from runner.spec.catalog import Catalog

_FORMAT = 1


@dataclass(slots=True)
class Row:
    """A scheduled job. Times are Unix milliseconds: there is no slot after ``since`` and before ``next``."""

    spec: str
    """The digest of the job."""
    schedule: str
    """The digest of its schedule; empty if it has none."""
    enabled: bool
    since: int
    next: int | None

    def look_from(self, job: JobSpec, timezone: str, since: int) -> None:
        """Compute the next slot after ``since`` anew."""
        slot = next_slot(timetables(job.schedule, timezone), from_milliseconds(since))
        self.since, self.next = since, None if slot is None else milliseconds(slot)

    def knows(self, since: int) -> bool:
        """Return whether ``next`` is the first slot after ``since`` too."""
        return self.since <= since and (self.next is None or since < self.next)


class ScheduleTable:
    """The rows of a project by the name of the job."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.state_dir / "cache" / "schedules.json"
        self.timezone = settings.timezone
        self._basis = [_FORMAT, __version__, settings.timezone, _zone_data()]
        self._changed = False
        self._catalog: Catalog | None = None
        self.rows: dict[str, Row] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            self.rows = self._load()

    def follow(self, catalog: Catalog, now: int) -> None:
        """Bring the rows in line with a catalog; new ones know their next slot after ``now``."""
        if catalog is self._catalog:
            return
        rows: dict[str, Row] = {}
        for name, spec in catalog.scheduled():
            row = self.rows.get(name)
            if row is None or row.spec != spec:
                job = catalog.jobs[name]
                digest = digest_of(job.schedule, self.timezone) if job.schedule else ""
                row = Row(spec, digest, job.enabled, now, None)
                if job.schedule:
                    row.look_from(job, self.timezone, now)
                self._changed = True
            rows[name] = row
        self._changed |= len(rows) != len(self.rows)
        self.rows, self._catalog = rows, catalog

    def look_from(self, name: str, job: JobSpec, since: int) -> Row:
        """Compute the next slot of a job after ``since`` anew; return its row."""
        row = self.rows[name]
        row.look_from(job, self.timezone, since)
        self._changed = True
        return row

    def next(self) -> int | None:
        """Return when the next slot of any enabled job is, in Unix ms."""
        return min((row.next for row in self.rows.values() if row.next is not None and row.enabled), default=None)

    def save(self) -> None:
        """Write what changed. Never raises."""
        if not self._changed:
            return
        with contextlib.suppress(OSError):
            self._save()
            self._changed = False

    def _load(self) -> dict[str, Row]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            foreign = status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if foreign or not stat.S_ISREG(status.st_mode):
                return {}
            held = json.load(file)
        if held["basis"] != self._basis:
            return {}
        return {name: _row(values) for name, values in held["rows"].items()}

    def _save(self) -> None:
        folder = self.path.parent
        if folder.stat().st_uid != os.geteuid():
            return  # the catalog's cache makes the folder, and not for a guest
        temporary = folder / f"schedules.{os.getpid()}.tmp"
        rows = {name: [row.spec, row.schedule, row.enabled, row.since, row.next] for name, row in self.rows.items()}
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps({"basis": self._basis, "rows": rows}, separators=(",", ":")))
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _row(values: list[object]) -> Row:
    spec, schedule, enabled, since, following = values
    if not (isinstance(spec, str) and isinstance(schedule, str) and isinstance(enabled, bool)):
        raise TypeError("not a row")
    if not isinstance(since, int) or not isinstance(following, int | None):
        raise TypeError("not a row")
    return Row(spec, schedule, enabled, since, following)


def _zone_data() -> list[int]:
    """Return what changes when the rules of time zones do."""
    found = []
    for folder in zoneinfo.TZPATH:
        with contextlib.suppress(OSError):
            found.append(os.stat(folder).st_mtime_ns)  # noqa: PTH116 - no Path is needed for each
    return found
