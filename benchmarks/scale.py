"""What one Redis bears: how much of its processor and memory the scripts of a large fleet take.

The workers are simulated: each beats when its turn comes, and renews the claims of its takers, with the real scripts.
The takers ask one after the other, so each command is read and answered by itself, which is the most that it can take.
"""

from __future__ import annotations

import heapq
import json
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.drain import load_of
from benchmarks.pairs import Row
from benchmarks.place import Place
from runner.delivery.claims import Claims
from runner.ledger.attempt import Attempts
from runner.ledger.ledger import WORKER_RECORD_SECONDS, Ledger
from runner.ledger.record import pack_digest
from runner.ledger.submission import Submission
from runner.ledger.take import Ask, Success, Taken, Takes
from runner.model.job import JobSpec
from runner.settings import load_settings

WORKERS, FEW_WORKERS = 1_000, 10
TAKERS = 10
JOBS, FEW_JOBS = 10_000, 10
RUNS = 20_000
REST_SECONDS = 20.0
LEASE = 15.0
KNOWN, DIGEST = "bench", "sha256:" + "0" * 64
MOST_AT_REST = 10.0
"""Percent of a processor."""


@dataclass(frozen=True)
class Cost:
    """What Redis gives for a fleet: seconds of its processor, and bytes."""

    beats: float
    """A second, for the whole fleet."""
    renewals: float
    """A second, for the whole fleet while each taker has a run."""
    submission: float
    """A run."""
    performance: float
    """A run: settle the last one, take the next one, start it."""
    waiting: float
    """Bytes of a run that waits."""
    ended: float
    """Bytes of a run that has succeeded."""

    @property
    def bears(self) -> float:
        """Runs a second for which one processor has the time, beside the beats and renewals of the fleet."""
        return (1 - self.beats - self.renewals) / (self.submission + self.performance)


def measure(place: Place) -> list[Row]:
    """Look at a small fleet with few jobs, then at a large one with many: what of it grows?"""
    workers, jobs = place.some(WORKERS, 30), place.some(JOBS, 100)
    small = _cost(place, FEW_WORKERS, FEW_JOBS)
    large = _cost(place, workers, jobs)
    name = f"{workers:,} workers, {jobs:,} jobs"
    beside = f"{FEW_WORKERS} and {FEW_JOBS}:"

    def row(what: str, attribute: str, unit: str, factor: float, most: float | None = None) -> Row:
        ours, other = (getattr(cost, attribute) * factor for cost in (large, small))
        return Row(f"{name}: {what}", ours, None, unit, 1, most=most, bounds="figure", beside={beside: other})

    return [
        row("Redis' processor for beats", "beats", "% of one", 100, MOST_AT_REST),
        row(f"for renewals, each with {TAKERS} runs", "renewals", "% of one", 100),
        row("to submit a run", "submission", "µs", 1e6),
        row("to settle a run and start the next one", "performance", "µs", 1e6),
        row("memory of a run that waits", "waiting", "bytes", 1),
        row("memory of a run that has ended", "ended", "bytes", 1),
        row("runs that one processor of Redis bears", "bears", "a second", 1),
    ]


def _cost(place: Place, workers: int, jobs: int) -> Cost:
    place.client.flushdb()
    ledger = Ledger.open(load_settings(place.folder, environ={}))
    try:
        names = [f"celery-{number}@host-{number}" for number in range(workers)]
        beats = _beats(place, ledger, names)
        specs = [JobSpec(name=f"job-{number}", task="work:noop", digest=DIGEST) for number in range(jobs)]
        # As workers write it, but without an expiry.
        ledger.client.hset(ledger.keys.known(KNOWN), mapping={spec.name: pack_digest(DIGEST) for spec in specs})
        runs = max(place.some(RUNS, 400), workers * TAKERS)
        empty, before = _memory(place), _processor(place)
        for number in range(runs):
            ledger.submit(_submission(specs[number % jobs]))
        submission = (_processor(place) - before) / runs
        waiting = (_memory(place) - empty) / runs
        takers = _Takers(ledger, names)
        renewals = _renewals(place, ledger, takers)
        before = _processor(place)
        performed = takers.finish()
        performance = (_processor(place) - before) / performed
        ended = (_memory(place) - empty) / runs
        return Cost(beats, renewals, submission, performance, waiting, ended)
    finally:
        ledger.close()


def _beats(place: Place, ledger: Ledger, names: Sequence[str]) -> float:
    """Let each worker beat when its turn comes; return the seconds of Redis' processor that a second of it takes."""

    def beat(number: int) -> float:
        record: dict[str, str | int] = {
            **{"host": f"host-{number}", "pid": 1, "process": "123456", "pool": "prefork", "version": "0.1.0"},
            **{"queues": "default", "concurrency": TAKERS, "running": 0, "jobs": 10_000, "catalog": DIGEST},
            **{"state": "running", "started_at": 1, "clock": 1},
        }
        return ledger.beat(worker=names[number], keep=WORKER_RECORD_SECONDS, lease=LEASE, record=record).turn

    # All are there before a turn counts. The first turns are spread, as if the workers had started at any time.
    for number in range(len(names)):
        beat(number)
    start = time.monotonic()
    turns = [(start + beat(number) * (number + 1) / len(names), number) for number in range(len(names))]
    heapq.heapify(turns)
    before = _processor(place)
    end = time.monotonic() + (REST_SECONDS if not place.quick else 1.0)
    start = time.monotonic()
    while (now := time.monotonic()) < end:
        due, number = turns[0]
        if due > now:
            time.sleep(min(due, end) - now)
            continue
        heapq.heapreplace(turns, (now + beat(number), number))
    return (_processor(place) - before) / (time.monotonic() - start)


class _Takers:
    """The takers of a fleet, each of which holds a run, or has none left to ask for."""

    def __init__(self, ledger: Ledger, names: Sequence[str]) -> None:
        self._takes = Takes(Attempts(ledger), lambda *_: None)
        self.held = {name: [self._take(name, None) for _ in range(TAKERS)] for name in names}

    def _take(self, worker: str, last: Success | None) -> Success | None:
        token = secrets.token_hex(16)
        taken = self._takes.take(last, Ask(token, 600_000, worker, KNOWN, ("default",)))
        if taken is None:
            return None
        assert isinstance(taken, Taken), taken
        meta = {"status": "SUCCESS", "result": 1, "traceback": None, "children": [], "task_id": taken.run_id}
        return Success(taken.run_id, token, json.dumps(meta))

    def finish(self) -> int:
        """Settle what each holds, take, and settle again, until nothing is left; return the number of runs settled."""
        settled = 0
        left = [(name, last) for name, held in self.held.items() for last in held if last is not None]
        while left:
            settled += len(left)
            left = [(name, found) for name, last in left if (found := self._take(name, last)) is not None]
        return settled


def _renewals(place: Place, ledger: Ledger, takers: _Takers) -> float:
    """Renew what each worker holds once; return the seconds of Redis' processor that a second of it takes."""
    claims = Claims(lambda: ledger, LEASE)
    before = _processor(place)
    for held in takers.held.values():
        gone = claims.renew([success.token for success in held if success is not None])
        assert not gone, gone
    return (_processor(place) - before) / (LEASE / 3)


def _submission(job: JobSpec) -> Submission:
    return Submission(
        id=str(uuid.uuid4()),
        job=job,
        params={"day": "2026-11-23", "region": "eu"},
        queue="default",
        priority=5,
        trigger="schedule",
        submitted_by="somebody@somewhere.example",
    )


def _processor(place: Place) -> float:
    return load_of(place.client).processor


def _memory(place: Place) -> int:
    found: Any = place.client.info("memory")
    return int(found["used_memory"])
