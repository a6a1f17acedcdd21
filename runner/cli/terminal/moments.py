"""Times as people read them."""

from __future__ import annotations

import time
from datetime import UTC, tzinfo

from runner._dataclass import dataclass
from runner.model.run import to_datetime

_UNITS = (
    # From how many seconds on a unit is used, its seconds, and the smaller unit that an exact age adds.
    (2 * 31_536_000, 31_536_000, "y", 86400, "d"),
    (2 * 86400, 86400, "d", 3600, "h"),
    (3600, 3600, "h", 60, "m"),
    (60, 60, "m", 1, "s"),
    (0, 1, "s", 1, ""),
)


def show_moment(timestamp: str | None, *, utc: bool) -> str:
    """Format a time of a run document for people: local with offset, or UTC."""
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


@dataclass(frozen=True, slots=True)
class Clock:
    """Shows the times of a list: as ages, or in full.

    Args:
        ages: whether times are shown as ages.
        utc: whether full times are in UTC.
        full: whether the user asked for full times, so that there are no ages at all.
    """

    ages: bool
    utc: bool = False
    full: bool = False

    def show(self, timestamp: str | None, *, exact: bool = False) -> str:
        """Format a time of a run document for people.

        Args:
            timestamp: the time; None shows nothing.
            exact: show an age in two units, such as ``in 2h 05m``.
        """
        if timestamp is None:
            return ""
        return show_age(timestamp, exact=exact) if self.ages else show_moment(timestamp, utc=self.utc)

    def show_past(self, timestamp: str | None) -> str:
        """Format a time that programs get as an exact age, such as ``2m 39s ago``, unless full times are requested."""
        if self.ages or self.full or timestamp is None:
            return self.show(timestamp)
        return f"{show_seconds(max(0.0, time.time() - to_datetime(timestamp).timestamp()))} ago"

    def short(self, timestamp: str | None) -> str:
        """Return a time as date, hours, and minutes of this host where ages are shown, and in full elsewhere."""
        if not self.ages or timestamp is None:
            return show_moment(timestamp, utc=self.utc)
        return to_datetime(timestamp).astimezone().strftime("%Y-%m-%d %H:%M")


def show_age(timestamp: str, *, now: float | None = None, exact: bool = False) -> str:
    """Return a time relative to ``now`` (Unix seconds): ``3m ago``, ``in 2h``, or ``now``."""
    ahead = to_datetime(timestamp).timestamp() - (time.time() if now is None else now)
    seconds = int(abs(ahead))
    if not seconds:
        return "now"
    _, size, unit, less, smaller = next(units for units in _UNITS if seconds >= units[0])
    text = f"{seconds // size}{unit}"
    if exact and smaller:
        text += f" {seconds % size // less:02}{smaller}"
    return f"in {text}" if ahead > 0 else f"{text} ago"
