"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, tzinfo

from runner.model.run import to_datetime


def show_moment(timestamp: str | None, *, utc: bool) -> str:
    """Return a run document's time for people: local with offset, or UTC."""
    if timestamp is None:
        return ""
    zone: tzinfo | None = UTC if utc else None
    return to_datetime(timestamp).astimezone(zone).isoformat(" ", "seconds")


def show_seconds(seconds: float) -> str:
    """Return a span for people: ``0.4 s``, ``12.0 s``, ``3m 20s``, ``2h 05m``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"
