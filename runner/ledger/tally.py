"""Count the runs of jobs and read recent durations, from the indexes and a bounded sample of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from runner._dataclass import dataclass
from runner.ledger.reach import reaching
from runner.ledger.scripts import digest, source
from runner.ledger.store import Store
from runner.model.run import FINAL, State
from runner.model.run_page import Position

STATES = (State.PENDING, State.STARTED, State.RETRY, State.SUCCESS, State.FAILURE, State.REVOKED)
_PORTION = 50
"""The maximum number of jobs per round trip."""


class Day(NamedTuple):
    """The runs that were submitted on one day, by outcome."""

    success: int
    failure: int
    revoked: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of a job's kept runs.

    ``last_success`` is a Unix time in ms and is kept longer than the run. ``waits`` and ``durations`` (seconds) are
    those of the newest runs in SUCCESS or FAILURE; only runs with one attempt have a wait.
    """

    job: str
    counts: dict[State, int]
    last_success: int | None
    days: list[Day]
    waits: list[float]
    durations: list[float]


def tally(
    store: Store, jobs: Sequence[str], days: Sequence[int], sample: int, *, as_steps: bool = False
) -> list[Tally]:
    """Return the tallies of jobs.

    Args:
        store: the ledger's store.
        jobs: the names of the jobs.
        days: the beginnings of the days, and the end of the last one (Unix ms).
        sample: the number of newest runs of a job to read.
        as_steps: count step runs of flows instead of other runs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found: list[Any] = []
    with reaching(store.settings):
        for first in range(0, len(jobs), _PORTION):
            with store.client.pipeline(transaction=False) as pipe:
                # Loading is cheap, and saves checking whether the server knows the script.
                pipe.script_load(source("runner.ledger", "tally"))
                for job in jobs[first : first + _PORTION]:
                    pipe.evalsha(
                        digest("runner.ledger", "tally"), 1, store.namespace, job, sample, int(as_steps), *days
                    )
                found += pipe.execute()[1:]
    return [_tally(job, answer, sample) for job, answer in zip(jobs, found, strict=True)]


def oldest_kept(store: Store, jobs: Sequence[str], *, as_steps: bool = False) -> list[Position | None]:
    """Return the oldest finished run of each job by submission; None for a job without finished runs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    key = store.keys.step_job if as_steps else store.keys.job
    states = sorted(FINAL)
    found: list[Any] = []
    with reaching(store.settings):
        for first in range(0, len(jobs), _PORTION):
            with store.client.pipeline(transaction=False) as pipe:
                for job in jobs[first : first + _PORTION]:
                    for state in states:
                        pipe.zrange(key(job, state), 0, 0, withscores=True)
                found += pipe.execute()
    positions = [[Position(int(at), run_id) for run_id, at in answer] for answer in found]
    return [
        min((position for group in positions[first : first + len(states)] for position in group), default=None)
        for first in range(0, len(positions), len(states))
    ]


def _tally(job: str, answer: Any, sample: int) -> Tally:
    counts, last, days, times = answer
    newest = sorted(zip(times[::3], times[1::3], times[2::3], strict=True), key=lambda row: int(row[0]), reverse=True)
    return Tally(
        job,
        dict(zip(STATES, counts, strict=True)),
        int(last) if last and last.isascii() and last.isdigit() else None,
        [Day(*days[first : first + 3]) for first in range(0, len(days), 3)],
        [int(wait) / 1000 for _, wait, _ in newest[:sample] if wait],
        [int(ran) / 1000 for _, _, ran in newest[:sample] if ran],
    )
