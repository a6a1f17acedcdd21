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
    pauses, marks = read_pauses(ledger), read_marks(ledger, list(deadlines))
    since, succeeded = _since(ledger, list(deadlines)), 0
    for job, seconds in deadlines.items():
        last, oldest = since[job]
        if paused(pauses, job):
            continue
        begins = [*([oldest] if oldest else []), *(version.since for version in marks.versions.get(job, ()))]
        begin = last or min(begins, default=None)
        allowed = format_duration(seconds)
        if begin is None:
            yield warning(
                NAME,
                f"{job} has alert_if_no_success: {allowed}, and has never run",
                f"submit it, or give it a schedule: runner submit {job}",
            )
        elif marks.now - begin > seconds * 1000:
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


def _since(ledger: Ledger, jobs: list[str]) -> dict[str, tuple[int | None, int | None]]:
    """Return when each job succeeded last, and when its oldest run was submitted, in Unix ms."""
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        pipe.hmget(f"{ledger.namespace}:succeeded", jobs)
        for job in jobs:
            for state in State:
                pipe.zrange(f"{ledger.namespace}:job:{job}:{state}", 0, 0, withscores=True)
        last, *heads = pipe.execute()
    found: dict[str, tuple[int | None, int | None]] = {}
    for number, job in enumerate(jobs):
        mine: list[Any] = heads[number * len(State) : (number + 1) * len(State)]
        oldest = min((int(entries[0][1]) for entries in mine if entries), default=None)
        found[job] = (int(last[number]) if last[number] else None, oldest)
    return found
