"""Memory of an idle worker: the proportional set size of all its processes, supervisors included."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.pairs import Row
from benchmarks.place import Place, tree

CONCURRENCY = 4
ROUNDS = 3
SETTLED = 1.0
"""Seconds without growth after which a worker is called idle."""


def measure(place: Place) -> list[Row]:
    """Start one worker at a time, so that none shares its pages with the other."""
    if not Path("/proc/self/smaps_rollup").exists():
        return []  # only Linux tells
    commands = {
        "runner": place.our_worker(CONCURRENCY),
        "stock": place.celery_worker("stock", CONCURRENCY),
    }
    sizes: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, words in commands.items():
            with place.worker(words) as pid:
                sizes[name].append(_settled_mebibytes(pid))
    ours, theirs = (statistics.median(sizes[name]) for name in commands)
    return [Row(f"idle worker, -c {CONCURRENCY}, PSS of its process tree", ours, theirs, "MiB", ROUNDS)]


def _settled_mebibytes(pid: int) -> float:
    size, since = proportional_mebibytes(pid), time.monotonic()
    while time.monotonic() - since < SETTLED:
        time.sleep(0.1)
        now = proportional_mebibytes(pid)
        if abs(now - size) > 0.01 * size:
            size, since = now, time.monotonic()
    return size


def proportional_mebibytes(root: int) -> float:
    """Return the memory of a process and its descendants; a page shared by n processes counts 1/n for each."""
    total = 0
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
