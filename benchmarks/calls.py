"""Submissions in a loop in one process: ``runner.submit``, Celery's ``delay``, huey's call, dramatiq's ``send``."""

from __future__ import annotations

import statistics
from functools import partial

from benchmarks.pairs import Row, in_turn
from benchmarks.place import Place
from benchmarks.systems import Celery, Dramatiq, Huey, Runner, System

RUNS = 2000
ROUNDS = 7
LEAST = 2.5


def measure(place: Place) -> list[Row]:
    """Compare submissions a second, in turn; nobody takes the runs meanwhile."""
    rounds, runs = place.some(ROUNDS, 1), place.some(RUNS, 100)
    systems: dict[str, System] = {
        "runner": Runner(place),
        "Celery": Celery(place),
        "huey": Huey(place),
        "dramatiq": Dramatiq(place),
    }
    for system in systems.values():
        system.client.flushdb()

    times = in_turn({name: partial(system.submit, runs) for name, system in systems.items()}, rounds)
    for system in systems.values():
        system.client.flushdb()
    speed = {name: runs / statistics.median(values) for name, values in times.items()}
    return [
        Row("runner.submit() in a loop : delay()", speed["runner"], speed["Celery"], "runs/s", rounds, least=LEAST,
            beside={name: speed[name] for name in ("huey", "dramatiq")}),
    ]  # fmt: skip
