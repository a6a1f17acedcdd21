"""Workers that work off a full queue: runs a second, and what each run costs Redis and the workers' processes.

The queue is filled before the worker starts. Counting begins when a tenth is done, so that neither the start nor the
imports are in the figures, and ends when nothing is left; then all results must be there. What the counting itself
asks of Redis is subtracted.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, fields
from typing import Any

import redis

from benchmarks.pairs import Row
from benchmarks.place import PATIENCE, Place
from benchmarks.processes import processor_seconds, tree
from benchmarks.systems import Celery, Dramatiq, Huey, Runner, System

RUNS = 4000
ROUNDS = 5
PAUSE = 0.02
SLOWEST = 50
"""Runs a second: slower than that is taken for a standstill."""
LEAST_AGAINST_CELERY = 3.0
LEAST_OVERCOMMITTED = 0.9
MOST_ROUND_TRIPS = 1.2
SCRIPTS = ("eval", "evalsha", "evalsha_ro", "eval_ro", "fcall", "fcall_ro")


@dataclass(frozen=True)
class Load:
    """What Redis counts from its start on."""

    reads: float
    scripts: float
    commands: float
    processor: float

    def __sub__(self, other: Load) -> Load:
        return Load(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))

    def __mul__(self, factor: float) -> Load:
        return Load(*(getattr(self, field.name) * factor for field in fields(self)))


@dataclass(frozen=True)
class Pace:
    """What was seen in one round; ``load`` and ``workers``, which are processor seconds, are those of one run."""

    runs_a_second: float
    load: Load
    workers: float


def measure(place: Place) -> list[Row]:
    """Let each drain a queue, in turn."""
    ours = Runner(place)
    systems: dict[str, tuple[System, int]] = {
        "runner": (ours, 2),
        "runner -c 8": (ours, 8),
        "Celery": (Celery(place), 2),
        "huey": (Huey(place), 2),
        "dramatiq": (Dramatiq(place), 2),
    }
    paces: dict[str, list[Pace]] = {name: [] for name in systems}
    rounds, runs = place.some(ROUNDS, 1), place.some(RUNS, 1000)
    for number in range(rounds):
        for name, (system, concurrency) in list(systems.items())[:: -1 if number % 2 else 1]:
            paces[name].append(drain(place, system, concurrency, runs))

    def medians(what: str) -> dict[str, float]:
        return {name: statistics.median(_figure(pace, what) for pace in seen) for name, seen in paces.items()}

    speed = medians("speed")
    what = "drain of no-op runs, -c 2"
    rows = [
        Row(f"{what} : Celery, acks_late", speed["runner"], speed["Celery"], "runs/s", rounds,
            least=LEAST_AGAINST_CELERY, beside=_peers(speed)),
        Row("drain of no-op runs, -c 8 : -c 2", speed["runner -c 8"], speed["runner"], "runs/s", rounds,
            least=LEAST_OVERCOMMITTED),
    ]  # fmt: skip
    costs = (
        ("round trips", "reads", "a run", MOST_ROUND_TRIPS),
        ("script calls", "scripts", "a run", None),
        ("commands, those of scripts too", "commands", "a run", None),
        ("processor time of Redis", "processor", "µs a run", None),
        ("processor time of the worker", "workers", "µs a run", None),
    )
    for name, key, unit, most in costs:
        figures = medians(key)
        if any(figures.values()):  # what is not known of processes, on macOS, is left out
            title = f"{what}: {name}" + (" : Celery" if figures["Celery"] else "")
            rows.append(
                Row(title, figures["runner"], figures["Celery"] or None, unit, rounds, most=most, bounds="figure",
                    beside=_peers(figures))
            )  # fmt: skip
    return rows


def drain(place: Place, system: System, concurrency: int, runs: int) -> Pace:
    """Fill a queue, and have it worked off."""
    system.client.flushdb()
    system.submit(runs)
    return work_off(place, system, concurrency, runs)


def work_off(place: Place, system: System, concurrency: int, runs: int) -> Pace:
    """Run a worker until nothing is left of the runs that wait."""
    assert system.left() == runs, f"{system.left()} runs wait, not {runs}"
    before = load_of(system.client)
    system.left()
    poll = load_of(system.client) - before
    deadline = time.monotonic() + PATIENCE + runs / SLOWEST
    words = system.worker(concurrency)
    with place.worker(words, wait=False) as pid:
        while (waiting := system.left()) > 0.9 * runs:
            assert time.monotonic() < deadline, f"{words}: {waiting} runs are left"
            time.sleep(PAUSE)
        family = tree(pid)
        counted, load, workers = waiting, load_of(system.client), processor_seconds(family)
        polls, start = 0, time.perf_counter()
        while waiting := system.left():
            polls += 1
            assert time.monotonic() < deadline, f"{words}: {waiting} runs are left"
            time.sleep(PAUSE)
        took = time.perf_counter() - start
        workers = processor_seconds(family | tree(pid)) - workers
        load = load_of(system.client) - load - poll * (polls + 1)
        _check(system, deadline)
    return Pace(counted / took, load * (1 / counted), workers / counted)


def load_of(client: redis.Redis) -> Load:
    """Return the server's counters, which include the three commands that read them."""
    with client.pipeline(transaction=False) as pipe:
        info: Any = {}
        for section in ("stats", "commandstats", "cpu"):
            pipe.info(section)
        for answer in pipe.execute():
            info |= answer
    calls = {
        name.removeprefix("cmdstat_"): value["calls"] for name, value in info.items() if name.startswith("cmdstat_")
    }
    return Load(
        reads=info["total_reads_processed"],
        scripts=sum(calls.get(name, 0) for name in SCRIPTS),
        commands=sum(calls.values()),
        processor=info["used_cpu_user"] + info["used_cpu_sys"],
    )


def _check(system: System, deadline: float) -> None:
    """Wait until all results exist: a message on its way is not counted, so zero may be reported a moment too early."""
    while True:
        try:
            system.check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
        else:
            return


def _figure(pace: Pace, what: str) -> float:
    if what == "speed":
        return pace.runs_a_second
    if what == "workers":
        return 1e6 * pace.workers
    figure: float = getattr(pace.load, what)
    return figure * (1e6 if what == "processor" else 1)


def _peers(figures: dict[str, float]) -> dict[str, float]:
    return {name: figures[name] for name in ("huey", "dramatiq")}
