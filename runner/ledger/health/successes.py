"""The dead-man's switch: jobs that have not succeeded for longer than they may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runner.ledger.connection import reaching
from runner.ledger.health.finding import Finding, ok, problem, things, warning
from runner.ledger.pauses import read_pauses
from runner.ledger.slots import read_marks
from runner.model.duration import format_duration
from runner.model.pause import paused
from runner.model.run import State, to_timestamp

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

NAME = "successes"


def overdue_successes(ledger: Ledger, deadlines: Mapping[str, float]) -> dict[str, bool]:
    """Return whether each job has not succeeded for longer than it may; a paused one has time.

    Args:
        ledger: the record of the runs.
        deadlines: by job, the seconds within which a run is to succeed.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    late = {job for job, _, age in _judged(ledger, deadlines) if age is not None and age > deadlines[job] * 1000}
    return {job: job in late for job in deadlines}


def check_successes(ledger: Ledger, deadlines: Mapping[str, float]) -> Iterator[Finding]:
    """Yield a finding for each job that has not succeeded in time; none for one that is paused.

    Where a job never succeeded, the time counts from its oldest run, or from when its schedule came into use.

    Args:
        ledger: the record of the runs.
        deadlines: by job, the seconds within which a run is to succeed.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if not deadlines:
        return
    succeeded = 0
    for job, last, age in _judged(ledger, deadlines):
        seconds = deadlines[job]
        allowed = format_duration(seconds)
        if age is None:
            yield warning(
                NAME,
                f"{job} has alert_if_no_success: {allowed}, and has never run",
                f"submit it, or give it a schedule: runner submit {job}",
            )
        elif age > seconds * 1000:
            told = f"has not succeeded since {to_timestamp(last)}" if last else "has never succeeded"
            yield problem(
                NAME,
                f"{job} {told}, which is longer than alert_if_no_success: {allowed}",
                f"runner runs --job {job} shows what became of it",
            )
        else:
            succeeded += 1
    if succeeded == len(deadlines):
        yield ok(NAME, f"{things(succeeded, 'job')} with alert_if_no_success, all in time")


def _judged(ledger: Ledger, deadlines: Mapping[str, float]) -> Iterator[tuple[str, int | None, int | None]]:
    """Yield each job that is not paused, when it succeeded last (Unix ms), and for how many ms its time runs."""
    if not deadlines:
        return
    pauses = read_pauses(ledger)
    succeeded = _succeeded(ledger, list(deadlines))
    never = [job for job in deadlines if job not in succeeded]
    marks, oldest = read_marks(ledger, never), _oldest(ledger, never)
    for job in deadlines:
        if not paused(pauses, job):
            last = succeeded.get(job)
            begins = [*oldest.get(job, ()), *(version.since for version in marks.versions.get(job, ()))]
            begin = last or min(begins, default=None)
            yield job, last, None if begin is None else marks.now - begin


def _succeeded(ledger: Ledger, jobs: list[str]) -> dict[str, int]:
    """Return when each job that ever did succeeded last, in Unix ms."""
    with reaching(ledger.settings):
        found: list[Any] = ledger.client.hmget(f"{ledger.namespace}:succeeded", jobs)
    return {job: int(at) for job, at in zip(jobs, found, strict=True) if at}


def _oldest(ledger: Ledger, jobs: list[str]) -> dict[str, list[int]]:
    """Return when the oldest run of each job in each state was submitted, in Unix ms."""
    states = list(State)
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for job in jobs:
            for state in states:
                pipe.zrange(f"{ledger.namespace}:job:{job}:{state}", 0, 0, withscores=True)
        heads: list[Any] = pipe.execute()
    return {
        job: [int(at) for entries in heads[first * len(states) : (first + 1) * len(states)] for _, at in entries]
        for first, job in enumerate(jobs)
    }
