"""Who starts next: a run of high priority behind others, and short runs while a long one holds one of two workers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import runner
from benchmarks.pairs import Row
from benchmarks.place import PATIENCE, Place
from runner.api import RunHandle, open_project
from runner.model.run import State

ROUNDS = 5
WAITING = 20
SHORT = 10
PAUSE = 0.02
STANDSTILL = 3.0
"""Seconds without a run that ends, after which those that are left are said to wait for the long one."""


def measure(place: Place) -> list[Row]:
    """Count with two workers of one process each."""
    rounds = place.some(ROUNDS, 1)
    with place.workers(place.our_worker(1, "bulk"), 2):
        overtaken = [_started_before_the_urgent(place) for _ in range(rounds)]
        ended = [_ended_beside_a_long_run(place) for _ in range(rounds)]
    return [
        Row(f"runs of priority 5, of {WAITING}, that start before a waiting one of priority 9", max(overtaken), None,
            "runs", rounds, most=0, bounds="figure", beside={"median": statistics.median(overtaken)}),
        Row(f"short runs, of {SHORT}, that end while a long one holds one of two workers", min(ended), None, "runs",
            rounds, least=SHORT, bounds="figure", beside={"median": statistics.median(ended)}),
    ]  # fmt: skip


def _started_before_the_urgent(place: Place) -> int:
    """Submit runs that keep both workers busy, then an urgent one; return how many start in between.

    All times are those of Redis, in milliseconds.
    """
    waiting = [_submit(place, "nap") for _ in range(WAITING)]
    urgent = _submit(place, "nap", priority=9).wait(PATIENCE)
    assert urgent.state is State.SUCCESS, urgent
    submitted, started = urgent.submitted_at, urgent.started_at
    assert submitted is not None
    assert started is not None
    overtaken = 0
    for handle in waiting:
        run = handle.wait(PATIENCE)
        assert run.state is State.SUCCESS, run
        assert run.started_at is not None
        overtaken += submitted < run.started_at < started
    return overtaken


def _ended_beside_a_long_run(place: Place) -> int:
    """Count the short runs that end while a long one, submitted before them, goes on."""
    gate = place.folder / "gate"
    long = _submit(place, "held", {"gate": str(gate)})
    _wait_until(lambda: long.state is State.STARTED, "the long run has started")
    short = [_submit(place, "nap") for _ in range(SHORT)]
    ledger = open_project(place.folder).ledger

    def ended() -> int:
        return sum(run.final for run in ledger.get_many([handle.id for handle in short]))

    count, since = ended(), time.monotonic()
    while count < SHORT and time.monotonic() - since < STANDSTILL:
        time.sleep(PAUSE)
        if (now := ended()) > count:
            count, since = now, time.monotonic()
    gate.touch()
    for handle in (long, *short):
        assert handle.wait(PATIENCE).state is State.SUCCESS, handle
    _remove([gate])
    return count


def _submit(place: Place, job: str, params: dict[str, str] | None = None, priority: int = 5) -> RunHandle:
    return runner.submit(job, params, priority=priority, project=place.folder)


def _wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(PAUSE)


def _remove(gates: list[Path]) -> None:
    for gate in gates:
        gate.unlink()
