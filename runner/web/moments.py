"""Times and values as pages show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context

from runner.model.run import Run, to_datetime


def _parse(value: str | float) -> datetime:
    if isinstance(value, str):
        return to_datetime(value)
    return datetime.fromtimestamp(value / 1000, UTC)


def _shown(context: Context, value: str | float | datetime) -> datetime:
    """Return the time by the project's clock, as crontabs have it: the same for whoever looks, wherever they are."""
    zone: ZoneInfo = context["zone"]
    return (value if isinstance(value, datetime) else _parse(value)).astimezone(zone)


@pass_context
def moment(context: Context, value: str | float | datetime | None) -> str:
    """Return a time (RFC 3339, or Unix ms) for people, to the second."""
    return "" if value is None else _shown(context, value).strftime("%Y-%m-%d %H:%M:%S")


@pass_context
def clock(context: Context, value: str | float | datetime) -> str:
    """Return the time of day."""
    return _shown(context, value).strftime("%H:%M:%S")


@pass_context
def minute(context: Context, value: str | float | datetime) -> str:
    """Return the time of day, without seconds."""
    return _shown(context, value).strftime("%H:%M")


def iso(value: str | float | datetime | None) -> str:
    """Return a time for machines, with offset."""
    if value is None:
        return ""
    return (value if isinstance(value, datetime) else _parse(value)).isoformat(timespec="milliseconds")


def span(seconds: float | None) -> str:
    """Return a length of time."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


def between(start: str, end: str) -> float:
    """Return the seconds from one time of a run document to another."""
    return max(0.0, (to_datetime(end) - to_datetime(start)).total_seconds())


def took(run: Run) -> float | None:
    """Return the seconds of a run's last attempt, so far if it still runs."""
    if run.started_at is None or run.state in ("PENDING", "RETRY"):
        return None
    end = to_datetime(run.finished_at) if run.finished_at is not None else datetime.now(UTC)
    return max(0.0, (end - to_datetime(run.started_at)).total_seconds())


def pretty(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def compact(value: Any) -> str:
    """Return a declared value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=dict)


def brief(params: dict[str, Any]) -> str:
    """Return params in a few words."""
    text = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params.items()
    )
    return text if len(text) <= 60 else text[:59] + "…"


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "clock": clock,
    "minute": minute,
    "iso": iso,
    "span": span,
    "took": took,
    "between": between,
    "pretty": pretty,
    "brief": brief,
    "compact": compact,
}
