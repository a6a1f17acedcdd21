"""Times and values as pages show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from runner.model.run import Run, to_datetime


def _parse(value: str | float) -> datetime:
    if isinstance(value, str):
        return to_datetime(value)
    return datetime.fromtimestamp(value / 1000, UTC)


def moment(value: str | float | None) -> str:
    """Return a time (RFC 3339, or Unix ms) for people: local, to the second."""
    return "" if value is None else _parse(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(value: str | float) -> str:
    """Return the time of day."""
    return _parse(value).astimezone().strftime("%H:%M:%S")


def day(value: str | float) -> str:
    """Return the day, with its name."""
    return _parse(value).astimezone().strftime("%A, %Y-%m-%d")


def iso(value: str | float | None) -> str:
    """Return a time for machines, with offset."""
    return "" if value is None else _parse(value).isoformat(timespec="milliseconds")


def span(seconds: float | None) -> str:
    """Return a length of time."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


def took(run: Run) -> float | None:
    """Return the seconds of a run's last attempt, so far if it still runs."""
    if run.started_at is None or run.state in ("PENDING", "RETRY"):
        return None
    end = to_datetime(run.finished_at) if run.finished_at is not None else datetime.now(UTC)
    return max(0.0, (end - to_datetime(run.started_at)).total_seconds())


def pretty(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def brief(params: dict[str, Any]) -> str:
    """Return params in a few words."""
    text = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params.items()
    )
    return text if len(text) <= 60 else text[:59] + "…"


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "clock": clock,
    "day": day,
    "iso": iso,
    "span": span,
    "took": took,
    "pretty": pretty,
    "brief": brief,
}
