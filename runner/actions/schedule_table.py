"""The next slot of each scheduled job, kept on this host so that a tick need not compute thousands of them.

Like the cache of the catalog, ``.runner/cache/schedules.json`` is a convenience: an invalid file counts as absent, and
the ledger decides what is due.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zoneinfo
from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner._version import __version__
from runner.host.state import read_private, replace_private
from runner.schedule.coverage import CalendarFault
from runner.schedule.rules import Calendars
from runner.schedule.timetable import (
    digest_of,
    from_milliseconds,
    milliseconds,
    next_and_skipped,
    timetables,
)

if TYPE_CHECKING:
    from runner.catalog.catalog import Catalog
    from runner.model.job import JobSpec
    from runner.settings import Settings

_FORMAT = 2


@dataclass(slots=True)
class Row:
    """A scheduled job. Times are Unix ms; there is no slot after ``since`` and before ``next``."""

    spec: str
    """The digest of the job and the sources of its calendars."""
    schedule: str
    """The digest of its schedule; empty without one."""
    enabled: bool
    since: int
    next: int | None
    skipped: int | None = None
    """The first skipped slot between the two; only used by ``upcoming``."""
    fault: str | None = None
    """The reason why the next slot cannot be computed on this host, or None. Such a row is not saved."""

    def look_from(self, job: JobSpec, timezone: str, calendars: Calendars, since: int) -> None:
        """Recompute the next slot after ``since``."""
        self.since, self.next, self.skipped, self.fault = since, None, None, None
        try:
            tables, after = timetables(job.schedule, timezone, calendars), from_milliseconds(since)
            slot, left_out = next_and_skipped(tables, after)
            self.next = None if slot is None else milliseconds(slot)
            self.skipped = None if left_out is None else milliseconds(left_out)
        except Exception as error:  # noqa: BLE001 - whatever it is, the schedules of other jobs go on
            self.fault = fault_text(error)

    def knows(self, since: int) -> bool:
        """Return whether ``next`` is also the first slot after ``since``."""
        return self.fault is None and self.since <= since and (self.next is None or since < self.next)

    def first_after(self, since: int) -> int | None:
        """Return a time before which no slot after ``since`` is skipped; None if no slot is ever skipped."""
        if not self.knows(since) or (self.skipped is not None and self.skipped <= since):
            return since
        return self.next if self.skipped is None else self.skipped


def fault_text(error: Exception) -> str:
    """Return the message for an error of one job's schedule."""
    if isinstance(error, CalendarFault):
        return str(error)
    if isinstance(error, zoneinfo.ZoneInfoNotFoundError):
        return f"this host does not know its time zone: {error.args[0]}"
    return f"its schedule cannot be computed: {type(error).__name__}: {error}"


class ScheduleTable:
    """The rows of a project by job."""

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
        """Update the rows for a catalog; new rows have their next slot after ``now``."""
        if catalog is self._catalog:
            return
        rows: dict[str, Row] = {}
        calendars = ""
        for name, spec in catalog.scheduled():
            if catalog.names_calendars(name):
                calendars = calendars or _digest(catalog.calendars.fingerprint)
                spec = f"{spec} {calendars}"
            row = self.rows.get(name)
            if row is None or row.spec != spec:
                job = catalog.jobs[name]
                digest = digest_of(job.schedule, self.timezone) if job.schedule else ""
                row = Row(spec, digest, job.enabled, now, None)
                if job.schedule:
                    row.look_from(job, self.timezone, catalog.calendars, now)
                self._changed = True
            rows[name] = row
        self._changed |= len(rows) != len(self.rows)
        self.rows, self._catalog = rows, catalog

    def look_from(self, name: str, job: JobSpec, since: int) -> Row:
        """Recompute the next slot of a job after ``since``; return its row."""
        assert self._catalog is not None
        row = self.rows[name]
        row.look_from(job, self.timezone, self._catalog.calendars, since)
        self._changed = True
        return row

    def next(self, without: Container[str] = ()) -> int | None:
        """Return the next slot of any enabled job (Unix ms), except jobs in ``without``."""
        times = (row.next for name, row in self.rows.items() if row.enabled and name not in without)
        return min((time for time in times if time is not None), default=None)

    @property
    def faults(self) -> dict[str, str]:
        """Return the reasons why the next slot of some enabled jobs cannot be computed."""
        return {name: row.fault for name, row in self.rows.items() if row.fault is not None and row.enabled}

    def save(self) -> None:
        """Save changes. Never raises."""
        if not self._changed:
            return
        with contextlib.suppress(OSError):
            self._save()
            self._changed = False

    def _load(self) -> dict[str, Row]:
        held = json.loads(read_private(self.path))
        if held["basis"] != self._basis:
            return {}
        return {name: _row(values) for name, values in held["rows"].items()}

    def _save(self) -> None:
        folder = self.path.parent
        if folder.stat().st_uid != os.geteuid():
            return  # the catalog's cache creates the folder, but not for other users
        rows = {
            name: [row.spec, row.schedule, row.enabled, row.since, row.next, row.skipped]
            for name, row in self.rows.items()
            if row.fault is None
        }
        replace_private(self.path, json.dumps({"basis": self._basis, "rows": rows}, separators=(",", ":")).encode())


def _row(values: list[object]) -> Row:
    spec, schedule, enabled, since, following, left_out = values
    if not (isinstance(spec, str) and isinstance(schedule, str) and isinstance(enabled, bool)):
        raise TypeError("not a row")
    if not isinstance(since, int) or not isinstance(following, int | None) or not isinstance(left_out, int | None):
        raise TypeError("not a row")
    return Row(spec, schedule, enabled, since, following, left_out)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _zone_data() -> list[int]:
    """Return values that change whenever the time zone data changes."""
    found = []
    for folder in zoneinfo.TZPATH:
        with contextlib.suppress(OSError):
            found.append(os.stat(folder).st_mtime_ns)  # noqa: PTH116 - no Path is needed for each
    return found
