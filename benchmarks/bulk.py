"""Many runs submitted at once: ``runner.submit_many``, and a ``group`` of Celery."""

from __future__ import annotations

import importlib
import statistics

import redis
from celery import group

import runner
from benchmarks.pairs import Row, in_turn
from benchmarks.peers import url_of
from benchmarks.place import Place
from benchmarks.systems import Runner

RUNS = 10_000
ROUNDS = 3
LEAST = 12


def measure(place: Place) -> list[Row]:
    """Compare runs a second, in turn; nobody takes them meanwhile."""
    rounds, runs = place.some(ROUNDS, 1), place.some(RUNS, 200)
    noop = importlib.import_module("benchmarks.peers.with_celery").plain.tasks["noop"]
    system = Runner(place)
    client = redis.Redis.from_url(url_of("celery"))

    def ours() -> None:
        system.client.flushdb(asynchronous=True)
        submitted = len(runner.submit_many("noop", ({} for _ in range(runs)), project=place.folder))
        assert submitted == runs == system.left(), (submitted, system.left())

    def theirs() -> None:
        client.flushdb(asynchronous=True)
        submitted = len(group(noop.s() for _ in range(runs)).apply_async())
        assert submitted == runs == client.llen("plain"), submitted

    times = in_turn({"runner": ours, "Celery": theirs}, rounds)
    system.client.flushdb()
    client.flushdb()
    speed = {name: runs / statistics.median(values) for name, values in times.items()}
    what = f"submit_many of {runs:,} : group of {runs:,}"
    return [Row(what, speed["runner"], speed["Celery"], "runs/s", rounds, least=LEAST)]
