"""Measures two things in turn, so that a busy moment of the machine meets both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """What was measured; smaller is better."""

    name: str
    ours: float
    theirs: float
    unit: str
    limit: float | None = None

    @property
    def ratio(self) -> float:
        """Ours to theirs."""
        return self.ours / self.theirs

    @property
    def kept(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.limit is None or self.ratio <= self.limit


def measure(name: str, ours: Work, theirs: Work, *, rounds: int, limit: float | None = None) -> Pair:
    """Do both ``rounds`` times in turn, after once to warm up; the medians are compared.

    Who goes first alternates.
    """
    ours()
    theirs()
    times: dict[Work, list[float]] = {ours: [], theirs: []}
    for number in range(rounds):
        for work in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.perf_counter()
            work()
            times[work].append(time.perf_counter() - start)
    return Pair(name, 1000 * statistics.median(times[ours]), 1000 * statistics.median(times[theirs]), "ms", limit)


def show(pairs: list[Pair]) -> bool:
    """Print a table; return whether all limits are kept."""
    print(f"{'':44} {'runner':>10} {'Celery':>10}      {'ratio':>6}  limit")
    for pair in pairs:
        limit = "" if pair.limit is None else f"{pair.limit:g} {'kept' if pair.kept else 'MISSED'}"
        print(f"{pair.name:44} {pair.ours:10.1f} {pair.theirs:10.1f} {pair.unit:3}  {pair.ratio:6.2f}  {limit}")
    return all(pair.kept for pair in pairs)
