"""The next slot of each scheduled job, kept on this host so that a tick need not compute thousands of them.

``.runner/cache/schedules.json`` is a convenience, as the cache of the catalog is: whatever is odd about it makes it as
good as absent, and what is due is decided by the ledger.
"""

from __future__ import annotations

import contextlib
import json
import os
import zoneinfo
from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner._version import __version__
from runner.host.state import read_private, replace_private
from runner.schedule.timetable import digest_of, from_milliseconds, milliseconds, next_slot, timetables

if TYPE_CHECKING:
    from runner.catalog.catalog import Catalog
    from runner.model.job import JobSpec
    from runner.settings import Settings

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
    fault: str | None = None
    """Why the next slot cannot be computed on this host, or None. Such a row is not saved, and looked at again."""

    def look_from(self, job: JobSpec, timezone: str, since: int) -> None:
        """Compute the next slot after ``since`` anew."""
        self.since, self.next, self.fault = since, None, None
        try:
            slot = next_slot(timetables(job.schedule, timezone), from_milliseconds(since))
            self.next = None if slot is None else milliseconds(slot)
        except Exception as error:  # noqa: BLE001 - whatever it is, the schedules of other jobs go on
            self.fault = fault_text(error)

    def knows(self, since: int) -> bool:
        """Return whether ``next`` is the first slot after ``since`` too."""
        return self.fault is None and self.since <= since and (self.next is None or since < self.next)


def fault_text(error: Exception) -> str:
    """Return the words for what went wrong with the schedule of one job."""
    if isinstance(error, zoneinfo.ZoneInfoNotFoundError):
        return f"this host does not know its time zone: {error.args[0]}"
    return f"its schedule cannot be computed: {type(error).__name__}: {error}"


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

    def next(self, without: Container[str] = ()) -> int | None:
        """Return when the next slot of any enabled job is, in Unix ms; those ``without`` names are left out."""
        times = (row.next for name, row in self.rows.items() if row.enabled and name not in without)
        return min((time for time in times if time is not None), default=None)

    @property
    def faults(self) -> dict[str, str]:
        """The reasons why the next slot of some enabled jobs cannot be computed."""
        return {name: row.fault for name, row in self.rows.items() if row.fault is not None and row.enabled}

    def save(self) -> None:
        """Write what changed. Never raises."""
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
            return  # the catalog's cache makes the folder, and not for a guest
        rows = {
            name: [row.spec, row.schedule, row.enabled, row.since, row.next]
            for name, row in self.rows.items()
            if row.fault is None
        }
        replace_private(self.path, json.dumps({"basis": self._basis, "rows": rows}, separators=(",", ":")).encode())


def _row(values: list[object]) -> Row:
    spec, schedule, enabled, since, following = values
    if not (isinstance(spec, str) and isinstance(schedule, str) and isinstance(enabled, bool)):
        raise TypeError("not a row")
    if not isinstance(since, int) or not isinstance(following, int | None):
        raise TypeError("not a row")
    return Row(spec, schedule, enabled, since, following)


def _zone_data() -> list[int]:
    """Return values that change whenever the time zone data changes."""
    found = []
    for folder in zoneinfo.TZPATH:
        with contextlib.suppress(OSError):
            found.append(os.stat(folder).st_mtime_ns)  # noqa: PTH116 - no Path is needed for each
    return found
