"""Forecast how scheduled runs overlap if they take as long as before. Pure functions."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from runner._dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """A future run. ``start`` is a Unix time in ms; ``duration`` is in seconds, None if no run of the job has ended."""

    job: str
    queue: str
    slot: int
    start: int
    duration: float | None


@dataclass(frozen=True, slots=True)
class Overlap:
    """A run that starts while an earlier one of its job is still expected to run, until ``busy_until`` (Unix ms)."""

    job: str
    slot: int
    busy_until: int


@dataclass(frozen=True, slots=True)
class Load:
    """The number of ``runs``; at most ``peak`` at once, first at ``peak_at`` (Unix ms); ``busy``: total seconds."""

    runs: int
    peak: int
    peak_at: int | None
    busy: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The overlaps in time order, the load in total and by queue, and the jobs with unknown durations."""

    overlaps: tuple[Overlap, ...]
    total: Load
    queues: Mapping[str, Load]
    unknown: tuple[str, ...]


def forecast(expected: Iterable[Expected]) -> Forecast:
    """Return the forecast if every run starts on time and takes its ``duration``; unknown durations count as 0."""
    runs = sorted(expected, key=lambda run: (run.start, run.job))
    busy_until: dict[str, int] = {}
    overlaps = []
    for run in runs:
        until = busy_until.get(run.job, 0)
        if until > run.start:
            overlaps.append(Overlap(run.job, run.slot, until))
        busy_until[run.job] = max(until, _end(run))
    queues = sorted({run.queue for run in runs})
    return Forecast(
        tuple(overlaps),
        _load(runs),
        {queue: _load([run for run in runs if run.queue == queue]) for queue in queues},
        tuple(sorted({run.job for run in runs if run.duration is None})),
    )


def _end(run: Expected) -> int:
    return run.start + round((run.duration or 0.0) * 1000)


def _load(runs: list[Expected]) -> Load:
    ends: list[int] = []
    peak, peak_at = 0, None
    for run in runs:
        while ends and ends[0] <= run.start:
            heapq.heappop(ends)
        heapq.heappush(ends, max(_end(run), run.start + 1))
        if len(ends) > peak:
            peak, peak_at = len(ends), run.start
    return Load(len(runs), peak, peak_at, sum(run.duration or 0.0 for run in runs))
