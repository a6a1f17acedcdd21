"""What Redis keeps of a run: of one that waits, and of one that has ended with a result."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.drain import work_off
from benchmarks.pairs import Row
from benchmarks.place import Place
from benchmarks.systems import Celery, Runner, System

RUNS = 10_000
MOST_QUEUED = 1200
MOST_FINISHED = 1000
SETTLED = 0.5
"""Seconds without a change after which the memory is called steady."""


def measure(place: Place) -> list[Row]:
    """Compare with what Celery keeps: a message, then a result that says nothing of the past."""
    runs = place.some(RUNS, 200)
    ours, theirs = (_bytes_of_a_run(place, system, runs) for system in (Runner(place), Celery(place)))
    return [
        Row(f"memory of {state} run : Celery", ours[state], theirs[state], "B", 1, most=most, bounds="figure")
        for state, most in (("a queued", MOST_QUEUED), ("a finished", MOST_FINISHED))
    ]


def _bytes_of_a_run(place: Place, system: System, runs: int) -> dict[str, float]:
    """Compare the memory before, with runs that wait, and after a worker has come, and gone."""
    system.client.flushdb()
    empty = _steady_bytes(system)
    system.submit(runs)
    queued = _steady_bytes(system)
    work_off(place, system, 2, runs)
    finished = _steady_bytes(system)
    system.client.flushdb()
    return {"a queued": (queued - empty) / runs, "a finished": (finished - empty) / runs}


def _steady_bytes(system: System) -> int:
    """Return the bytes that Redis uses, once tables have moved and connections have gone."""
    size, since = _used(system), time.monotonic()
    while time.monotonic() - since < SETTLED:
        time.sleep(0.05)
        if (now := _used(system)) != size:
            size, since = now, time.monotonic()
    return size


def _used(system: System) -> int:
    info: Any = system.client.info("memory")
    return int(info["used_memory"])
