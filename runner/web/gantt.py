"""The Gantt chart of a flow: a bar for each step, from its first start to its end. Positions are percentages."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.web.axis import Tick, TimeAxis
from runner.web.steps import StepRow

LEAST_WIDTH = 0.4
"""Of a bar, so that a short step can be seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of a step: its left end and its width. ``x`` is None before the step has begun."""

    row: StepRow
    x: float | None
    width: float
    line: str


@dataclass(frozen=True, slots=True)
class Gantt:
    """A chart of steps over time, from ``begin`` to ``end`` in Unix milliseconds."""

    bars: list[Bar]
    ticks: list[Tick]
    begin: int
    end: int


def gantt(rows: Sequence[StepRow], begin: int, end: int, now: int, zone: ZoneInfo) -> Gantt:
    """Return the chart of some steps.

    Args:
        rows: the steps.
        begin: the latest beginning of the axis, in Unix milliseconds.
        end: its earliest end.
        now: the end of the bars of steps that are still running.
        zone: the time zone of the axis.
    """
    begin = min([begin, *(row.began for row in rows if row.began is not None)])
    end = max([end, begin + 1, *(row.ended for row in rows if row.ended is not None)])
    axis = TimeAxis(begin, end)
    return Gantt([_bar(row, axis, now) for row in rows], axis.ticks(zone), begin, end)


def _bar(row: StepRow, axis: TimeAxis, now: int) -> Bar:
    if row.began is None:
        return Bar(row, None, 0.0, row.line(now))
    x, width = span_of(axis, row.began, now if row.ended is None else row.ended)
    return Bar(row, x, width, row.line(now))


def span_of(axis: TimeAxis, begin: int, end: int, least: float = LEAST_WIDTH) -> tuple[float, float]:
    """Return the left end and the width of a bar, which is wide enough to be seen and stays within the axis."""
    left, right = axis.position(begin), axis.position(end)
    return min(left, 100 - least), max(least, round(right - left, 2))
