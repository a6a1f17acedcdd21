"""Types of times: the start of a run, and the bounds of a list of runs.

Both are stored as Unix times in seconds. A text without an offset is in the time zone of the project, which the caller
sets as ``zone``. Python code may give an aware ``datetime`` instead of a text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from runner._dataclass import dataclass
from runner.errors import UsageError
from runner.model.message import advise
from runner.model.value_type import INVALID, Path, Report, describe

FARTHEST_START = 100 * 365 * 86400.0
"""Seconds ahead. A recorded time must be valid in every time zone."""


@dataclass(frozen=True, slots=True)
class StartTime:
    """A time at most 100 years ahead; a time of day means the next one. A ``datetime`` in the past means now."""

    zone: str = "UTC"

    def read(self, value: Any, path: Path, report: Report) -> Any:
        from runner.model.moment import read_future  # start-up time: most runs start now

        return _within_reach(_read_text(value, self.zone, read_future, path, report), path, report)

    def take(self, value: Any, path: Path, report: Report) -> Any:
        """Read a value that Python code gives: an aware ``datetime``, or a text."""
        given = _take_datetime(value, path, report)
        return self.read(value, path, report) if given is None else _within_reach(given, path, report)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": _LONGEST_TEXT}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class PastTime:
    """A duration before now, or a time; a time of day means the last one."""

    zone: str = "UTC"

    def read(self, value: Any, path: Path, report: Report) -> Any:
        from runner.model.moment import read_since  # start-up time: most lists have no bound

        return _read_text(value, self.zone, read_since, path, report)

    def take(self, value: Any, path: Path, report: Report) -> Any:
        """Read a value that Python code gives: an aware ``datetime``, or a text."""
        given = _take_datetime(value, path, report)
        return self.read(value, path, report) if given is None else given

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": _LONGEST_TEXT}

    def write(self, value: Any) -> Any:
        return value


_LONGEST_TEXT = 64


def _read_text(value: Any, zone: str, read: Callable[[str, str], float], path: Path, report: Report) -> Any:
    if not isinstance(value, str):
        report(path, advise(f"expected a time, got {describe(value)}", "write one such as 2026-11-24T02:00"))
        return INVALID
    if len(value) > _LONGEST_TEXT:
        report(path, advise(f"is {len(value)} characters long, at most {_LONGEST_TEXT} are allowed", "shorten it"))
        return INVALID
    try:
        return read(value, zone)
    except UsageError as error:
        report(path, f"{error.message}, {error.hint}")
        return INVALID


def _take_datetime(value: Any, path: Path, report: Report) -> Any:
    """Return the Unix time of a ``datetime``; INVALID if it has no offset, None for other values."""
    from datetime import datetime  # start-up time: few programs give a datetime

    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        example = "datetime.now(UTC) + timedelta(hours=1)"
        report(path, advise(f"{value} has no offset", f"give an aware datetime such as {example}"))
        return INVALID
    return max(0.0, value.timestamp())


def _within_reach(moment: Any, path: Path, report: Report) -> Any:
    if moment is not INVALID and moment > time.time() + FARTHEST_START:
        report(path, advise("is more than 100 years ahead", "choose an earlier time"))
        return INVALID
    return moment
