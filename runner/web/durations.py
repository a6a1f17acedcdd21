"""The chart of how long the last runs of a job took: a bar for each run, an axis of seconds, and one of days."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.actions.stats import percentile
from runner.model.run import Run, to_datetime
from runner.model.run_time import first_start, total_seconds
from runner.web.attempts import seconds_until
from runner.web.axis import Tick, duration_text, duration_ticks
from runner.web.moments import span

FEWEST_SLOTS = 20
"""Bars for which the chart has room at least, so that a few runs are not as wide as the page."""
LEAST_HEIGHT = 2.0
_LABEL_WIDTH = 9.0
"""Percent of the width between two labels at least."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class DurationBar:
    """A run. ``x`` and ``height`` are percentages."""

    x: float
    height: float
    run: Run
    title: str


@dataclass(frozen=True, slots=True)
class DurationChart:
    """Bars of equal width, the oldest run first; ``levels`` are the labels of the vertical axis, from the bottom."""

    bars: list[DurationBar]
    width: float
    levels: list[Tick]
    dates: list[Tick]
    median: float | None
    """The median of the successful runs, in percent; None if there are too few of them."""


def duration_chart(runs: Sequence[Run], now: int, zone: ZoneInfo) -> DurationChart | None:
    """Return the chart of some runs, given newest first; None if none of them has started.

    Args:
        runs: runs of one job.
        now: the end of the bars of those that still run, in Unix milliseconds.
        zone: the time zone of the dates.
    """
    timed = [(run, seconds) for run in reversed(runs) if (seconds := seconds_until(run, now)) is not None]
    if not timed:
        return None
    levels = duration_ticks(max(seconds for _, seconds in timed) or 0.001)
    top = levels[-1]
    room = max(len(timed), FEWEST_SLOTS)
    width = 100 / room
    bars = [
        DurationBar(
            round(number * width, 3),
            round(max(LEAST_HEIGHT, 100 * seconds / top), 2),
            run,
            f"{_wall(run, zone):%Y-%m-%d %H:%M}: {run.state}, {span(seconds)}",
        )
        for number, (run, seconds) in enumerate(timed)
    ]
    succeeded = [seconds for run, seconds in timed if run.state == "SUCCESS"]
    median = statistics.median(succeeded) if len(succeeded) >= 3 else None
    return DurationChart(
        bars,
        round(width, 3),
        [Tick(round(100 * level / top, 2), duration_text(level)) for level in levels],
        _dates([run for run, _ in timed], width, zone),
        None if median is None else round(100 * median / top, 2),
    )


def usual_durations(runs: Sequence[Run]) -> tuple[float, float] | None:
    """Return the median and the 95th percentile of finished runs in seconds; None if none has both started and ended.

    As on all pages, a run takes from its first start to its end. ``runner stats`` counts last attempts.
    """
    taken = [seconds for run in runs if (seconds := total_seconds(run)) is not None]
    median, high = percentile(taken, 0.5), percentile(taken, 0.95)
    return None if median is None or high is None else (median, high)


def _dates(runs: Sequence[Run], width: float, zone: ZoneInfo) -> list[Tick]:
    """Return labels below the first run of each day, or of each minute if all are of one day, as far as they fit."""
    walls = [_wall(run, zone) for run in runs]
    one_day = walls[0].date() == walls[-1].date()
    found: list[Tick] = []
    before = None
    for number, wall in enumerate(walls):
        text = wall.strftime("%H:%M") if one_day else f"{_MONTHS[wall.month - 1]} {wall.day}"
        x = round(number * width, 2)
        if text != before and (not found or x - found[-1].x >= _LABEL_WIDTH):
            found.append(Tick(x, text))
        before = text
    return found


def _wall(run: Run, zone: ZoneInfo) -> datetime:
    return to_datetime(first_start(run) or run.submitted_at or "1970-01-01T00:00:00Z").astimezone(zone)
