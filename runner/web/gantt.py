"""The Gantt chart of a flow: a bar for each step, from its first start to its end. Places are percentages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.web.steps import StepRow

LEAST_WIDTH = 0.4
"""Of a bar, so that a short step can be seen."""
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
    """A time on the axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A step: where its bar begins, and how wide it is; without both before it has begun."""

    row: StepRow
    x: float | None
    width: float
    line: str


@dataclass(frozen=True, slots=True)
class Gantt:
    """A chart of steps over time."""

    bars: list[Bar]
    ticks: list[Tick]
    begin: int
    end: int


def gantt(rows: Sequence[StepRow], begin: int, end: int, now: int, zone: ZoneInfo) -> Gantt:
    """Return the chart of some steps.

    Args:
        rows: the steps.
        begin: where the axis begins at the latest, in Unix milliseconds.
        end: where it ends at the earliest.
        now: until when steps that go on have run.
        zone: the time zone of the axis.
    """
    begin = min([begin, *(row.began for row in rows if row.began is not None)])
    end = max([end, begin + 1, *(row.ended for row in rows if row.ended is not None)])

    def place(at: int) -> float:
        return round(100 * (min(max(at, begin), end) - begin) / (end - begin), 2)

    return Gantt([_bar(row, place, now) for row in rows], _ticks(begin, end, zone, place), begin, end)


def _bar(row: StepRow, place: Callable[[int], float], now: int) -> Bar:
    if row.began is None:
        return Bar(row, None, 0.0, row.line(now))
    left, right = place(row.began), place(now if row.ended is None else row.ended)
    width = max(LEAST_WIDTH, round(right - left, 2))
    return Bar(row, min(left, 100 - LEAST_WIDTH), width, row.line(now))


def _ticks(begin: int, end: int, zone: ZoneInfo, place: Callable[[int], float]) -> list[Tick]:
    """Return round times of the zone's clock, counted from midnight, so that hours are whole whatever the offset is."""
    seconds = (end - begin) / 1000
    unit = next((each for each in _UNITS if seconds / each <= MOST_TICKS), _UNITS[-1])
    first = datetime.fromtimestamp(begin / 1000, zone).replace(tzinfo=None)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    number = -(-round((first - midnight).total_seconds() * 1000) // round(unit * 1000))
    found: list[Tick] = []
    while len(found) <= MOST_TICKS + 1:
        wall = midnight + timedelta(seconds=number * unit)
        at = round(wall.replace(tzinfo=zone).timestamp() * 1000)
        if at > end:
            break
        if at >= begin:
            found.append(Tick(place(at), _text(wall, unit, seconds)))
        number += 1
    return found


def _text(wall: datetime, unit: float, seconds: float) -> str:
    if unit >= _DAY:
        return wall.strftime("%m-%d" if seconds < 365 * _DAY else "%Y-%m-%d")
    if unit >= 60:
        return wall.strftime("%m-%d %H:%M" if seconds > _DAY else "%H:%M")
    digits = 0 if unit >= 1 else 1 if unit >= 0.1 else 2 if unit >= 0.01 else 3
    return wall.strftime("%H:%M:%S") + (f".{wall.microsecond:06d}"[: 1 + digits] if digits else "")
