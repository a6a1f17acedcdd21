"""A worker that works off a full queue: runs a second, and how often it turns to the server for each.

The queue is filled before the worker starts. Counting begins when a tenth is done, so that neither the start
nor the imports are in the figures. Round trips are the server's count of reads from sockets: commands that
were sent together are one.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.pairs import Row
from benchmarks.place import PATIENCE, Place

CONCURRENCY = 2
RUNS = 2000
ROUNDS = 3
PAUSE = 0.02


@dataclass(frozen=True)
class Pace:
    """What was seen in one round."""

    runs_a_second: float
    reads_a_run: float


def measure(place: Place) -> list[Row]:
    """Compare with Celery that acknowledges late, as the runner does."""
    import runner

    sys.path.insert(0, str(place.folder))
    stock = importlib.import_module("stock")

    def ours() -> Pace:
        for _ in range(RUNS):
            runner.submit("nothing", project=place.folder)

        def left() -> int:
            states = ("PENDING", "STARTED", "RETRY")
            return sum(int(place.client.zcard(f"runner:job:nothing:{state}")) for state in states)

        def check() -> None:
            for state in ("FAILURE", "REVOKED"):
                assert not place.client.zcard(f"runner:job:nothing:{state}"), state

        return _work_off(place, place.our_worker(CONCURRENCY, "bulk"), left, check, commands=3)

    def theirs() -> Pace:
        task = stock.late.tasks["nothing"]
        keys = [f"celery-task-meta-{task.delay().id}" for _ in range(RUNS)]

        # What waits and what is not acknowledged yet: cheap to ask, unlike thousands of results.
        def left() -> int:
            return int(place.client.llen("late")) + int(place.client.hlen("unacked"))

        def check() -> None:
            # A message that is between the two is in neither, so the count may say zero a moment too early.
            deadline = time.monotonic() + PATIENCE
            while (stored := int(place.client.exists(*keys))) < RUNS:
                assert time.monotonic() < deadline, f"{stored} results are stored, not {RUNS}"
                time.sleep(PAUSE)

        return _work_off(place, place.celery_worker("late", CONCURRENCY), left, check, commands=2)

    paces: dict[str, list[Pace]] = {"runner": [], "celery": []}
    for number in range(ROUNDS):
        for name, round_of in (("runner", ours), ("celery", theirs))[:: -1 if number % 2 else 1]:
            paces[name].append(round_of())
    speed = {name: statistics.median(pace.runs_a_second for pace in seen) for name, seen in paces.items()}
    reads = {name: statistics.median(pace.reads_a_run for pace in seen) for name, seen in paces.items()}
    name = f"no-op runs, -c {CONCURRENCY}"
    return [
        Row(f"{name} : Celery, acks_late", speed["runner"], speed["celery"], "runs/s", ROUNDS),
        Row(f"{name}, round trips : Celery, acks_late", reads["runner"], reads["celery"], "a run", ROUNDS),
    ]


def _work_off(
    place: Place, words: list[str], left: Callable[[], int], check: Callable[[], None], *, commands: int
) -> Pace:
    """Run a worker until nothing is left, then ``check`` that all is well; ``left`` sends so many ``commands``."""
    assert left() == RUNS, f"{left()} runs wait, not {RUNS}"
    polls = 0
    deadline = time.monotonic() + PATIENCE
    with place.worker(words):
        while (waiting := left()) > 0.9 * RUNS:
            assert time.monotonic() < deadline, f"{words}: {waiting} runs are left"
            time.sleep(PAUSE)
        counted, reads, start = waiting, _reads(place), time.perf_counter()
        while waiting := left():
            polls += 1
            assert time.monotonic() < deadline, f"{words}: {waiting} runs are left"
            time.sleep(PAUSE)
        polls += 1
        took = time.perf_counter() - start
        # Less our own: those of `left`, and the INFO that reads the count.
        reads = _reads(place) - reads - polls * commands - 1
        check()
    return Pace(counted / took, reads / counted)


def _reads(place: Place) -> int:
    return int(place.client.info("stats")["total_reads_processed"])
