"""Read the standing of jobs: waiting and active runs, and the last outcome, at constant cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner._dataclass import dataclass
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.run import State, to_timestamp

_PORTION = 500
"""The maximum number of jobs per script call, so that it blocks Redis only briefly."""


@dataclass(frozen=True, slots=True)
class Last:
    """The outcome of the newest ended run of a job. ``finished_at`` is a Unix time in ms."""

    id: str
    state: State
    reason: str | None
    finished_at: int | None

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "id": self.id,
            "state": str(self.state),
            "reason": self.reason,
            "finished_at": to_timestamp(self.finished_at),
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """The standing of a job.

    ``oldest``: the waiting run that was submitted first, at ``oldest_at`` (Unix ms). ``failed``: the last run that
    ended in FAILURE, None if a later one ended in SUCCESS.
    """

    job: str
    waiting: int
    running: int
    oldest: str | None
    oldest_at: int | None
    last: Last | None
    failed: str | None


def read_standings(store: Store, jobs: Sequence[str]) -> dict[str, Standing]:
    """Return the standing of each of ``jobs``.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found: dict[str, Standing] = {}
    for first in range(0, len(jobs), _PORTION):
        portion = jobs[first : first + _PORTION]
        answers: list[Any] = store.script("standings", *portion)
        found |= {job: _standing(job, answer) for job, answer in zip(portion, answers, strict=True)}
    return found


def _standing(job: str, answer: Sequence[Any]) -> Standing:
    pending, started, retry, oldest, oldest_at, ended, last, reason, finished, failed = answer
    return Standing(
        job,
        waiting=int(pending) + int(retry),
        running=int(started),
        oldest=oldest or None,
        oldest_at=_moment(oldest_at),
        last=Last(last, State(ended), reason or None, _moment(finished)) if ended else None,
        failed=failed or None,
    )


def _moment(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else None


def count_states(store: Store) -> dict[State, int]:
    """Count the runs in each state.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    states = list(State)
    with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
        for state in states:
            pipe.zcard(store.keys.state(state))
        return dict(zip(states, map(int, pipe.execute()), strict=True))


def longest_running(store: Store, most: int) -> list[str]:
    """Return the ids of the STARTED runs that were submitted first.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        found: list[str] = store.client.zrange(store.keys.state(State.STARTED), 0, most - 1)  # type: ignore[assignment]
    return found
