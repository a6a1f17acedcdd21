"""Memory of an idle worker: the proportional set size of all its processes, supervisors included."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.pairs import Row
from benchmarks.place import Place
from benchmarks.processes import proportional_mebibytes, tree

CONCURRENCY = 4
ROUNDS = 3
SETTLED = 1.0
"""Seconds without growth after which a worker is called idle."""
MOST = 0.9


def measure(place: Place) -> list[Row]:
    """Start one worker at a time, so that none shares its pages with the other."""
    if not Path("/proc/self/smaps_rollup").exists():
        return []  # only Linux tells
    commands = {
        "runner": place.our_worker(CONCURRENCY),
        "Celery": place.celery_worker("plain", CONCURRENCY),
    }
    sizes: dict[str, list[float]] = {name: [] for name in commands}
    rounds = place.some(ROUNDS, 1)
    for _ in range(rounds):
        for name, words in commands.items():
            with place.worker(words) as pid:
                sizes[name].append(settled_mebibytes(pid))
    ours, theirs = (statistics.median(sizes[name]) for name in commands)
    what = f"memory of an idle worker, -c {CONCURRENCY} : Celery"
    return [Row(what, ours, theirs, "MiB", rounds, most=MOST)]


def settled_mebibytes(pid: int) -> float:
    """Return the memory of a worker once it does not change any more."""
    size, since = proportional_mebibytes(tree(pid)), time.monotonic()
    while time.monotonic() - since < SETTLED:
        time.sleep(0.1)
        now = proportional_mebibytes(tree(pid))
        if abs(now - size) > 0.01 * size:
            size, since = now, time.monotonic()
    return size
