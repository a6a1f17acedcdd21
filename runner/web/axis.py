"""Axes of charts: round times and durations to label, and where they lie. Positions are percentages."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass

MOST_TICKS = 5
_DAY = 86400
_UNITS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200),
    *(_DAY, 2 * _DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY),
)
"""Seconds from one tick to the next."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of an axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """An axis from ``begin`` to ``end``, both in Unix milliseconds."""

    begin: int
    end: int

    def position(self, at: int) -> float:
        """Return the position of a time; one beyond the axis is moved to its nearer end."""
        return round(100 * (min(max(at, self.begin), self.end) - self.begin) / (self.end - self.begin), 2)

    def ticks(self, zone: ZoneInfo, most: int = MOST_TICKS) -> list[Tick]:
        """Return round times of the zone's clock, about ``most`` of them.

        They are counted from midnight, so that hours are whole whatever the offset is.
        """
        seconds = (self.end - self.begin) / 1000
        unit = next((unit for unit in _UNITS if seconds / unit <= most), _UNITS[-1])
        first = datetime.fromtimestamp(self.begin / 1000, zone).replace(tzinfo=None)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        number = -(-round((first - midnight).total_seconds() * 1000) // round(unit * 1000))
        found: list[Tick] = []
        while len(found) <= most + 1:
            wall = midnight + timedelta(seconds=number * unit)
            at = round(wall.replace(tzinfo=zone).timestamp() * 1000)
            if at > self.end:
                break
            if at >= self.begin:
                found.append(Tick(self.position(at), _time_text(wall, unit, seconds)))
            number += 1
        return found


def duration_ticks(longest: float, most: int = 4) -> list[float]:
    """Return round durations in seconds, from 0 to the first one that is not shorter than ``longest``."""
    unit = next((unit for unit in _UNITS if longest / unit <= most), _UNITS[-1])
    steps = max(1, -int(-longest // unit))
    stride = -(-steps // most)
    return [number * unit * stride for number in range(-(-steps // stride) + 1)]


def duration_text(seconds: float) -> str:
    """Return a round duration in its largest unit: ``200 ms``, ``15 s``, ``5 min``, ``2 h``, ``1 d``."""
    for unit, name in ((_DAY, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return "0" if seconds == 0 else f"{seconds * 1000:g} ms"


def _time_text(wall: datetime, unit: float, seconds: float) -> str:
    if unit >= _DAY:
        return wall.strftime("%m-%d" if seconds < 365 * _DAY else "%Y-%m-%d")
    if unit >= 60:
        return wall.strftime("%m-%d %H:%M" if seconds > _DAY else "%H:%M")
    digits = 0 if unit >= 1 else 1 if unit >= 0.1 else 2 if unit >= 0.01 else 3
    return wall.strftime("%H:%M:%S") + (f".{wall.microsecond:06d}"[: 1 + digits] if digits else "")
