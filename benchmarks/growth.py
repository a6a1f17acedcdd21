"""What a worker holds after its first thousand runs, and after a hundred thousand: descriptors, processes, memory.

It is looked at while nothing is left to do. Every hundredth run prints and logs a line, so that its log is kept.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drain import PAUSE
from benchmarks.memory import settled_mebibytes
from benchmarks.pairs import Row
from benchmarks.place import PATIENCE, Place
from benchmarks.processes import descriptors, tree
from benchmarks.systems import Runner

RUNS = 100_000
FIRST = 1_000
BATCH = 2_000
SLOWEST = 20
"""Runs a second: slower than that is taken for a standstill."""
MOST_MEMORY = 1.05
"""Of what it was: what is freed is not always given back to the kernel."""


@dataclass(frozen=True)
class Held:
    """What all processes of a worker hold."""

    descriptors: int
    processes: int
    mebibytes: float


def measure(place: Place) -> list[Row]:
    """Look at one worker twice."""
    if not Path("/proc/self/smaps_rollup").exists():
        return []  # only Linux tells
    runs, first = place.some(RUNS, 3_000), place.some(FIRST, 500)
    quiet, loud = Runner(place), Runner(place, "say")
    quiet.client.flushdb()
    file = place.folder / "jobs.d" / "growth.yaml"
    file.write_text("jobs:\n  say: {task: work:say, queue: bulk}\n")
    try:
        with place.worker(place.our_worker(2, "bulk")) as pid:
            _perform(quiet, loud, first)
            before, done = _look(pid), first
            while done < runs:
                number = min(BATCH, runs - done)
                _perform(quiet, loud, number)
                done += number
                if done % (10 * BATCH) == first % BATCH:
                    print(f"  {done:,} runs: {_look(pid)}", file=sys.stderr, flush=True)
            after = _look(pid)
    finally:
        file.unlink()
    name = f"a worker, -c 2, after {runs:,} runs : after {first:,}"
    return [
        Row(f"{name}: descriptors", after.descriptors, before.descriptors, "", 1, most=1.0),
        Row(f"{name}: processes", after.processes, before.processes, "", 1, most=1.0),
        Row(f"{name}: memory", after.mebibytes, before.mebibytes, "MiB", 1, most=MOST_MEMORY),
    ]


def _perform(quiet: Runner, loud: Runner, runs: int) -> None:
    for system, number in ((quiet, runs - runs // 100), (loud, runs // 100)):
        system.submit_many(number)
    deadline = time.monotonic() + PATIENCE + runs / SLOWEST
    while left := quiet.left() + loud.left():
        assert time.monotonic() < deadline, f"{left} runs are left"
        time.sleep(PAUSE)


def _look(pid: int) -> Held:
    mebibytes = settled_mebibytes(pid)
    family = tree(pid)
    return Held(descriptors(family), len(family), mebibytes)
