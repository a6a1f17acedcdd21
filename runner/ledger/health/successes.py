"""The dead-man's switch: jobs without a success within their deadline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.ledger.health.finding import Finding, ok, problem, warning
from runner.ledger.pauses import read_pauses
from runner.ledger.reach import reaching
from runner.ledger.slots import read_marks
from runner.ledger.store import Store
from runner.model.duration import format_duration, milliseconds
from runner.model.pause import paused
from runner.model.plural import things
from runner.model.run import State, to_timestamp

NAME = "successes"


def overdue_successes(store: Store, deadlines: Mapping[str, float]) -> dict[str, bool]:
    """Return for each job whether it is overdue: without a success within its deadline. A paused job is not overdue.

    Args:
        store: the ledger's store.
        deadlines: for each job, the seconds within which a run must succeed.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    late = {job for job, _, age in _judged(store, deadlines) if age is not None and age > deadlines[job] * 1000}
    return {job: job in late for job in deadlines}


def note_silences(store: Store, deadlines: Mapping[str, float]) -> int:
    """Add the overdue jobs to the outbox, once per outage; return the number of new entries.

    Args:
        store: the ledger's store.
        deadlines: for each job, the seconds within which a run must succeed.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    late: list[str | int] = []
    for job, last, age in _judged(store, deadlines):
        if age is not None and age > deadlines[job] * 1000:
            late += job, milliseconds(deadlines[job]), "" if last else "1"
    return int(store.script("silent", *late)) if late else 0


def check_successes(store: Store, deadlines: Mapping[str, float]) -> Iterator[Finding]:
    """Yield a finding for each overdue job that is not paused.

    For a job that never succeeded, the time counts from its oldest run or from the first use of its schedule.

    Args:
        store: the ledger's store.
        deadlines: for each job, the seconds within which a run must succeed.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if not deadlines:
        return
    succeeded = 0
    for job, last, age in _judged(store, deadlines):
        seconds = deadlines[job]
        allowed = format_duration(seconds)
        if age is None:
            yield warning(
                NAME,
                f"{job} has alert_if_no_success: {allowed}, and has never run",
                f"submit it, or give it a schedule: runner submit {job}",
            )
        elif age > seconds * 1000:
            status = f"has not succeeded since {to_timestamp(last)}" if last else "has never succeeded"
            yield problem(
                NAME,
                f"{job} {status}, which is longer than alert_if_no_success: {allowed}",
                f"runner runs --job {job} shows what became of it",
            )
        else:
            succeeded += 1
    if succeeded == len(deadlines):
        yield ok(NAME, f"{things(succeeded, 'job')} with alert_if_no_success, all in time")


def _judged(store: Store, deadlines: Mapping[str, float]) -> Iterator[tuple[str, int | None, int | None]]:
    """Yield for each job that is not paused its last success (Unix ms) and the milliseconds since then."""
    if not deadlines:
        return
    pauses = read_pauses(store)
    succeeded = _succeeded(store, list(deadlines))
    never = [job for job in deadlines if job not in succeeded]
    marks, oldest = read_marks(store, never), _oldest(store, never)
    for job in deadlines:
        if not paused(pauses, job):
            last = succeeded.get(job)
            begins = [*oldest.get(job, ()), *(version.since for version in marks.versions.get(job, ()))]
            begin = last or min(begins, default=None)
            yield job, last, None if begin is None else marks.now - begin


def _succeeded(store: Store, jobs: list[str]) -> dict[str, int]:
    """Return the last success of each job that ever succeeded (Unix ms)."""
    with reaching(store.settings):
        found: list[Any] = store.client.hmget(store.keys.succeeded, jobs)
    # Text that is not a number counts as missing.
    return {job: int(at) for job, at in zip(jobs, found, strict=True) if at and at.isascii() and at.isdigit()}


def _oldest(store: Store, jobs: list[str]) -> dict[str, list[int]]:
    """Return the submission time of the oldest run of each job in each state (Unix ms)."""
    states = list(State)
    with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
        for job in jobs:
            for state in states:
                pipe.zrange(store.keys.job(job, state), 0, 0, withscores=True)
        heads: list[Any] = pipe.execute()
    return {
        job: [int(at) for entries in heads[first * len(states) : (first + 1) * len(states)] for _, at in entries]
        for first, job in enumerate(jobs)
    }
