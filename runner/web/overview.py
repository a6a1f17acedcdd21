"""Counts of runs, and plots of them. The number of round trips does not depend on the number of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.ledger.reach import reaching
from runner.model.run import State

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

HOURS = 24
PLOT_HEIGHT = 60.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a plot, in the units of the plot. ``y`` is its top."""

    x: float
    y: float
    height: float
    state: str
    title: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """At most ``width`` bars. ``top`` labels the highest value; ``ticks`` are labels below, evenly spaced."""

    bars: list[Bar]
    width: int
    top: str
    ticks: list[str]
    rows: list[tuple[str, dict[str, int]]]
    """The counts by state for each label, for those who cannot see the plot."""


def counts(ledger: Ledger) -> dict[str, int]:
    """Count the runs in each state."""
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for state in State:
            pipe.zcard(ledger.keys.state(state))
        return dict(zip((str(state) for state in State), pipe.execute(), strict=True))


def by_hour(ledger: Ledger, now: float) -> list[tuple[float, dict[str, int]]]:
    """Return the start of each of the last :data:`HOURS` hours (Unix s), and its submissions counted by state."""
    begin = (now // 3600 - HOURS + 1) * 3600
    starts = [begin + 3600 * number for number in range(HOURS)]
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for start in starts:
            for state in State:
                pipe.zcount(ledger.keys.state(state), start * 1000, f"({(start + 3600) * 1000}")
        found = iter(pipe.execute())
    return [(start, {str(state): int(next(found)) for state in State}) for start in starts]


def hours(counted: Sequence[tuple[float, dict[str, int]]], zone: ZoneInfo) -> Plot:
    """Return the plot of :func:`by_hour`, with a stack of bars for each hour."""
    most = max((sum(of.values()) for _, of in counted), default=0)
    found = []
    rows = []
    for number, (start, of) in enumerate(counted):
        y = PLOT_HEIGHT
        shown = datetime.fromtimestamp(start, zone).strftime("%H:%M")
        rows.append((shown, of))
        for state, count in of.items():
            if count:
                height = PLOT_HEIGHT * count / most
                y -= height
                title = f"{shown}: {count} {state}"
                found.append(Bar(number, round(y, 2), round(height, 2), state, title))
    return Plot(found, HOURS, f"{most:,}", [shown for shown, _ in rows[::6]], rows)
