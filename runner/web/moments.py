"""Filters of the templates that format times, durations, and values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context

from runner.model.run import Run, to_datetime
from runner.model.run_time import first_start

MOST_OF_A_LINE = 200
"""Characters of an error that a list shows."""


def _parse(value: str | float) -> datetime:
    if isinstance(value, str):
        return to_datetime(value)
    return datetime.fromtimestamp(value / 1000, UTC)


def _shown(context: Context, value: str | float | datetime) -> datetime:
    """Return the time in the time zone of the project, independent of the browser's."""
    zone: ZoneInfo = context["zone"]
    return (value if isinstance(value, datetime) else _parse(value)).astimezone(zone)


@pass_context
def moment(context: Context, value: str | float | datetime | None) -> str:
    """Return the date and the time of day of a time (RFC 3339, or Unix ms)."""
    return "" if value is None else _shown(context, value).strftime("%Y-%m-%d %H:%M:%S")


@pass_context
def clock(context: Context, value: str | float | datetime) -> str:
    """Return the time of day with seconds."""
    return _shown(context, value).strftime("%H:%M:%S")


@pass_context
def minute(context: Context, value: str | float | datetime) -> str:
    """Return the time of day without seconds."""
    return _shown(context, value).strftime("%H:%M")


def iso(value: str | float | datetime | None) -> str:
    """Return a time in ISO 8601 format with its UTC offset, for ``datetime`` attributes."""
    if value is None:
        return ""
    return (value if isinstance(value, datetime) else _parse(value)).isoformat(timespec="milliseconds")


def span(seconds: float | None) -> str:
    """Return a duration as text, such as ``12.3 s`` or ``1h 02m``."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


JUST_NOW = 5
"""Seconds up to which an age is "just now"."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def age(value: str | float | datetime | None, now: datetime | None = None) -> str:
    """Return a time relative to now: ``3 min ago``, ``in 2 h``. page.js has the same rule."""
    if value is None:
        return ""
    at = value if isinstance(value, datetime) else _parse(value)
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    size = abs(seconds)
    if size < JUST_NOW:
        return "just now"
    unit, name = next((unit, name) for unit, name in _UNITS if size >= unit)
    text = f"{int(size // unit)} {name}"
    return f"in {text}" if seconds < 0 else f"{text} ago"


def between(start: str, end: str) -> float:
    """Return the seconds between two times of a run document."""
    return max(0.0, (to_datetime(end) - to_datetime(start)).total_seconds())


def took(run: Run) -> float | None:
    """Return the seconds from the first start of a run to its end, so far if it still runs; None while it waits."""
    begin = first_start(run)
    if begin is None or run.state in ("PENDING", "RETRY"):
        return None
    end = to_datetime(run.finished_at) if run.finished_at is not None else datetime.now(UTC)
    return max(0.0, (end - to_datetime(begin)).total_seconds())


def pretty(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def last_line(error: Mapping[str, Any]) -> str:
    """Return the last line of an error's message, which usually says most; its type where it has no message."""
    lines = [line.strip() for line in str(error["message"] or "").splitlines()]
    text = next((line for line in reversed(lines) if line), "") or str(error["type"]).rpartition(".")[2]
    return text if len(text) <= MOST_OF_A_LINE else text[: MOST_OF_A_LINE - 1] + "…"


def compact(value: Any) -> str:
    """Return a value of a job file as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=dict)


def brief(params: dict[str, Any]) -> str:
    """Return params on one line, shortened to 60 characters."""
    text = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params.items()
    )
    return text if len(text) <= 60 else text[:59] + "…"


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "clock": clock,
    "minute": minute,
    "age": age,
    "iso": iso,
    "span": span,
    "took": took,
    "between": between,
    "pretty": pretty,
    "brief": brief,
    "compact": compact,
    "last_line": last_line,
}
