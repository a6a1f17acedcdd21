"""Kinds of times that people write beside durations: when a run may start, and since when runs are looked for.

Both are held as Unix times in seconds. A text without an offset is in the project's zone: whoever reads puts that into
``zone``. Programs may give an aware ``datetime`` instead of a text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from runner._dataclass import dataclass
from runner.errors import UsageError
from runner.model.value_type import INVALID, Path, Report, describe

FARTHEST_START = 100 * 365 * 86400.0
"""Seconds ahead. A recorded time must be readable in every time zone."""


@dataclass(frozen=True, slots=True)
class StartTime:
    """A time ahead, at most 100 years; a time of day is the next one. A ``datetime`` may have passed: it means now."""

    zone: str = "UTC"

    def read(self, value: Any, path: Path, report: Report) -> Any:
        from runner.model.moment import read_future  # start-up time: most runs start now

        return _within_reach(_read_text(value, self.zone, read_future, path, report), path, report)

    def take(self, value: Any, path: Path, report: Report) -> Any:
        """Read what a program gives: an aware ``datetime`` or a text."""
        given = _take_datetime(value, path, report)
        return self.read(value, path, report) if given is None else _within_reach(given, path, report)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": _LONGEST_TEXT}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class PastTime:
    """A duration back from now, or a time; a time of day is the last one."""

    zone: str = "UTC"

    def read(self, value: Any, path: Path, report: Report) -> Any:
        from runner.model.moment import read_since  # start-up time: most lists have no bound

        return _read_text(value, self.zone, read_since, path, report)

    def take(self, value: Any, path: Path, report: Report) -> Any:
        """Read what a program gives: an aware ``datetime`` or a text."""
        given = _take_datetime(value, path, report)
        return self.read(value, path, report) if given is None else given

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": _LONGEST_TEXT}

    def write(self, value: Any) -> Any:
        return value


_LONGEST_TEXT = 64


def _read_text(value: Any, zone: str, read: Callable[[str, str], float], path: Path, report: Report) -> Any:
    if not isinstance(value, str):
        report(path, f"expected a time such as 2026-11-24T02:00, got {describe(value)}")
        return INVALID
    if len(value) > _LONGEST_TEXT:
        report(path, f"is {len(value)} characters long, at most {_LONGEST_TEXT} are allowed")
        return INVALID
    try:
        return read(value, zone)
    except UsageError as error:
        report(path, f"{error.message}, {error.hint}")
        return INVALID


def _take_datetime(value: Any, path: Path, report: Report) -> Any:
    """Return the Unix time of a ``datetime``; INVALID for one without an offset, None for anything else."""
    from datetime import datetime  # start-up time: few programs give a datetime

    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        report(path, f"{value} has no offset, give an aware datetime: datetime.now(UTC) + timedelta(hours=1)")
        return INVALID
    return max(0.0, value.timestamp())


def _within_reach(moment: Any, path: Path, report: Report) -> Any:
    if moment is not INVALID and moment > time.time() + FARTHEST_START:
        report(path, "is more than 100 years ahead, choose an earlier time")
        return INVALID
    return moment
