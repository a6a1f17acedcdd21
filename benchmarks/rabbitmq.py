"""The runner and Celery on RabbitMQ, and the runner on Redis beside them: a full queue worked off, and latency."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import redis

import runner
from benchmarks.drain import drain
from benchmarks.pairs import Row, in_turn, quantile
from benchmarks.peers import url_of
from benchmarks.place import BIN, PATIENCE, Place
from benchmarks.systems import AT_ONCE, Runner, System

RUNS = 3000
ROUNDS = 3
LATENCY_ROUNDS = 500
WARM_UP = 20
CONCURRENCY = 2


def measure(place: Place) -> list[Row]:
    """Compare on a node of RabbitMQ that is started for it; nothing is measured where there is none."""
    # Not imported before: it needs what tests need.
    from tests.support.rabbit import rabbit

    if shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
        print("rabbitmq-server is not installed: what needs it is left out", file=sys.stderr, flush=True)
        return []
    with rabbit(place.folder / "rabbit") as node:
        url = node.add_vhost("bench").url
        os.environ["BENCH_BROKER"] = url
        there = replace(place, folder=_project(place, url), environment={**place.environment, "BENCH_BROKER": url})
        return [*_drains(place, there), *_latencies(place, there)]


def _project(place: Place, url: str) -> Path:
    """Make a project like that of ``place``, with RabbitMQ as broker; return its folder."""
    folder = place.folder / "on-rabbitmq"
    (folder / "jobs.d").mkdir(parents=True, exist_ok=True)
    for name in ("jobs.d/jobs.yaml", "work.py", "chatter.py"):
        shutil.copy(place.folder / name, folder / name)
    settings = (place.folder / "runner.yaml").read_text()
    (folder / "runner.yaml").write_text(f"{settings}namespace: rabbit\nbroker_url: {url}\n")
    return folder


class CeleryOnRabbit:
    """Celery on RabbitMQ that acknowledges late, with results in Redis."""

    def __init__(self, place: Place) -> None:
        self._app = importlib.import_module("benchmarks.peers.with_celery_amqp").late
        self._place = place
        self._keys: list[str] = []
        self.client = redis.Redis.from_url(url_of("celery"))

    def worker(self, concurrency: int) -> list[str]:
        """Return the words."""
        return celery_worker("late", concurrency)

    def submit(self, runs: int) -> None:
        """Submit by `delay`."""
        task = self._app.tasks["noop"]
        self._keys = [f"celery-task-meta-{task.delay().id}" for _ in range(runs)]

    def left(self) -> int:
        """Count the results, which are all that is in its database: RabbitMQ counts no message that a worker holds."""
        return len(self._keys) - int(self.client.dbsize())

    def check(self) -> None:
        """Read each result."""
        for first in range(0, len(self._keys), AT_ONCE):
            for stored in self.client.mget(self._keys[first : first + AT_ONCE]):
                assert stored is not None
                meta = json.loads(stored)
                assert (meta["status"], meta["result"]) == ("SUCCESS", 1), meta


def celery_worker(app: str, concurrency: int) -> list[str]:
    """Return the words that start a worker of an app of peers/with_celery_amqp.py."""
    module = f"benchmarks.peers.with_celery_amqp:{app}"
    return [str(BIN / "celery"), "-A", module, "worker", "-c", str(concurrency), "-l", "WARNING", "-n", f"{app}-amqp"]


def _drains(place: Place, there: Place) -> list[Row]:
    systems: dict[str, tuple[Place, System]] = {
        "runner": (there, Runner(there)),
        "Celery": (there, CeleryOnRabbit(there)),
        "runner on Redis": (place, Runner(place)),
    }
    paces: dict[str, list[float]] = {name: [] for name in systems}
    rounds, runs = place.some(ROUNDS, 1), place.some(RUNS, 500)
    for number in range(rounds):
        for name, (where, system) in list(systems.items())[:: -1 if number % 2 else 1]:
            paces[name].append(drain(where, system, CONCURRENCY, runs).runs_a_second)
    speed = {name: statistics.median(rates) for name, rates in paces.items()}
    what = "drain of no-op runs on RabbitMQ, -c 2 : Celery, acks_late"
    beside = {"runner on Redis": speed["runner on Redis"]}
    return [Row(what, speed["runner"], speed["Celery"], "runs/s", rounds, beside=beside)]


def _latencies(place: Place, there: Place) -> list[Row]:
    celery = importlib.import_module("benchmarks.peers.with_celery_amqp")

    def ours(where: Place) -> None:
        run = runner.submit("add", {"a": 1, "b": 2}, project=where.folder).wait(timeout=PATIENCE)
        assert run.result == 3, run

    def theirs() -> None:
        assert celery.plain.tasks["add"].delay(1, 2).get(timeout=PATIENCE) == 3

    works = {"runner": lambda: ours(there), "Celery": theirs, "runner on Redis": lambda: ours(place)}
    rounds = place.some(LATENCY_ROUNDS, 10)
    with (
        there.worker(there.our_worker(CONCURRENCY)),
        there.worker(celery_worker("plain", CONCURRENCY)),
        place.worker(place.our_worker(CONCURRENCY)),
    ):
        in_turn(works, place.some(WARM_UP, 1))
        times = in_turn(works, rounds)
    rows = []
    for share in (0.5, 0.99):
        figures = {name: 1000 * quantile(seconds, share) for name, seconds in times.items()}
        what = f"submission to result on RabbitMQ, p{100 * share:.0f} : delay().get()"
        beside = {"runner on Redis": figures["runner on Redis"]}
        rows.append(Row(what, figures["runner"], figures["Celery"], "ms", rounds, beside=beside))
    return rows
