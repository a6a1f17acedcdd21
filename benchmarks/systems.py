"""The runner and its peers, alike: fill a queue with runs that return 1, start a worker, see what is left."""

from __future__ import annotations

import importlib
import json
from typing import Any, Protocol

import redis

import runner
from benchmarks.peers import url_of
from benchmarks.place import BIN, Place
from runner.api import open_project
from runner.ledger.tally import tally
from runner.model.run import State

AT_ONCE = 500
LIVE = (State.PENDING, State.STARTED, State.RETRY)


class System(Protocol):
    """What takes runs from a queue in its own database."""

    client: redis.Redis

    def worker(self, concurrency: int) -> list[str]:
        """Return the command of a worker with ``concurrency`` processes and a minimal log."""

    def submit(self, runs: int) -> None:
        """Submit runs one by one."""

    def left(self) -> int:
        """Count the submitted runs that have not ended, cheaply."""

    def check(self) -> None:
        """Raise AssertionError unless the result of each submitted run is there."""


class Runner:
    """The runner, with a job of the place."""

    def __init__(self, place: Place, job: str = "noop") -> None:
        self._place = place
        self._job = job
        self._ids: list[str] = []
        self.client = place.client

    def worker(self, concurrency: int) -> list[str]:
        """Return the words."""
        return [*self._place.our_worker(concurrency, "bulk"), "--log-level", "WARNING"]

    def submit(self, runs: int) -> None:
        """Submit by the Python API."""
        self._ids = [runner.submit(self._job, project=self._place.folder).id for _ in range(runs)]

    def submit_many(self, runs: int) -> None:
        """Submit in few steps."""
        handles = runner.submit_many(self._job, ({} for _ in range(runs)), project=self._place.folder)
        self._ids = [handle.id for handle in handles]

    def left(self) -> int:
        """Count by the indexes of the ledger."""
        # A sample of one run, which is cheap: of none, it would be all.
        [found] = tally(open_project(self._place.folder).ledger, [self._job], [], 1)
        return sum(found.counts[state] for state in LIVE)

    def check(self) -> None:
        """Read all records."""
        ledger = open_project(self._place.folder).ledger
        for first in range(0, len(self._ids), AT_ONCE):
            for run in ledger.get_many(self._ids[first : first + AT_ONCE]):
                assert run.state is State.SUCCESS, run


class Celery:
    """Celery that acknowledges late, as the runner does."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._app = importlib.import_module("benchmarks.peers.with_celery").late
        self._keys: list[str] = []
        self.client = redis.Redis.from_url(url_of("celery"))

    def worker(self, concurrency: int) -> list[str]:
        """Return the words."""
        return self._place.celery_worker("late", concurrency)

    def submit(self, runs: int) -> None:
        """Submit by `delay`."""
        task = self._app.tasks["noop"]
        self._keys = [f"celery-task-meta-{task.delay().id}" for _ in range(runs)]

    def left(self) -> int:
        """Count what waits, and what is not acknowledged; a message on its way between the two is in neither."""
        return int(self.client.llen("late")) + int(self.client.hlen("unacked"))

    def check(self) -> None:
        """Read what the result backend has stored."""
        for first in range(0, len(self._keys), AT_ONCE):
            for stored in self.client.mget(self._keys[first : first + AT_ONCE]):
                assert stored is not None
                meta = json.loads(stored)
                assert (meta["status"], meta["result"]) == ("SUCCESS", 1), meta


class Huey:
    """huey with processes."""

    def __init__(self, _place: Place) -> None:
        self._huey = importlib.import_module("benchmarks.peers.with_huey")
        self._results: list[Any] = []
        self.client = redis.Redis.from_url(url_of("huey"))

    def worker(self, concurrency: int) -> list[str]:
        """Return the words."""
        return huey_worker("plain", concurrency)

    def submit(self, runs: int) -> None:
        """Submit by calling the task."""
        self._results = [self._huey.noop() for _ in range(runs)]

    def left(self) -> int:
        """Count the results."""
        return len(self._results) - int(self._huey.plain.result_count())

    def check(self) -> None:
        """Read each result."""
        for result in self._results:
            assert result.get(preserve=True) == 1, result


class Dramatiq:
    """dramatiq with processes, of eight threads each: its default.

    It fetches 64 messages at once, which is faster than its default, two for each thread.
    """

    def __init__(self, _place: Place) -> None:
        self._actor = importlib.import_module("benchmarks.peers.with_dramatiq").noop
        self._messages: list[Any] = []
        self.client = redis.Redis.from_url(url_of("dramatiq"))

    def worker(self, concurrency: int) -> list[str]:
        """Return the words."""
        command = [str(BIN / "dramatiq"), "benchmarks.peers.with_dramatiq", "--processes", str(concurrency)]
        return ["env", "dramatiq_queue_prefetch=64", *command]

    def submit(self, runs: int) -> None:
        """Submit by `send`."""
        self._messages = [self._actor.send() for _ in range(runs)]

    def left(self) -> int:
        """Count the messages, which are kept until they are acknowledged."""
        return int(self.client.hlen("dramatiq:default.msgs"))

    def check(self) -> None:
        """Read each result."""
        for message in self._messages:
            assert message.get_result() == 1, message


def huey_worker(instance: str, concurrency: int) -> list[str]:
    """Return the words that start a consumer of an instance in peers/with_huey.py; SIGTERM ends it in order."""
    name = f"benchmarks.peers.with_huey.{instance}"
    return [str(BIN / "huey_consumer"), name, "-w", str(concurrency), "-k", "process", "-q", "-g", "TERM"]
