"""The ledger's counters and current values, for metrics."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.run import State

BUCKETS = (100, 500, 1000, 5000, 15000, 60000, 300000, 900000, 3600000, 14400000)
"""The upper bounds of the buckets of times (ms); the same as in counts.lua."""
ACTIVE = (State.PENDING, State.STARTED, State.RETRY)


@dataclass(slots=True)
class Times:
    """A histogram: counts in the order of :data:`BUCKETS`, then the count above; ``total`` is in ms."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: int = 0


@dataclass(slots=True)
class Counts:
    """The counters. Keys are names of jobs, with labels where a job has several counters."""

    runs: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """By job, final state and reason; the reason is empty for SUCCESS."""
    submissions: dict[tuple[str, str], int] = field(default_factory=dict)
    """By job and trigger."""
    retries: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    redeliveries: dict[str, int] = field(default_factory=dict)
    waited: dict[str, Times] = field(default_factory=lambda: defaultdict(Times))
    """The times from due to first start."""
    ran: dict[str, Times] = field(default_factory=lambda: defaultdict(Times))
    """The durations of attempts that ended their runs."""
    succeeded: dict[str, int] = field(default_factory=dict)
    """The last success of each job (Unix ms)."""
    active: dict[State, int] = field(default_factory=dict)
    active_steps: dict[State, int] = field(default_factory=dict)
    archived: int = 0
    """The number of runs that were copied to the archive, without step runs."""
    leases: int = 0
    dead_letters: int = 0


def read_counts(store: Store) -> Counts:
    """Return all counters, with one round trip.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    keys = store.keys
    with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.metrics)
        pipe.hgetall(keys.succeeded)
        pipe.zcard(keys.leases)
        pipe.llen(keys.dead_letters)
        for state in ACTIVE:
            pipe.zcard(keys.state(state))
        for state in ACTIVE:
            pipe.zcard(keys.step_state(state))
        kept, succeeded, leases, letters, *active = pipe.execute()
    counts = Counts(leases=leases, dead_letters=letters)
    counts.active = dict(zip(ACTIVE, active, strict=False))
    counts.active_steps = dict(zip(ACTIVE, active[len(ACTIVE) :], strict=True))
    # Text that is not a number counts as missing.
    counts.succeeded = {job: int(at) for job, at in succeeded.items() if at.isascii() and at.isdigit()}
    for name, value in kept.items():
        if value.isascii() and value.isdigit():
            _take(counts, name.split(" "), int(value))
    return counts


def _take(counts: Counts, words: list[str], value: int) -> None:
    match words:
        case ["runs", job, state, reason]:
            counts.runs[job, state, reason] = value
        case ["submissions", job, trigger]:
            counts.submissions[job, trigger] = value
        case ["retries", job]:
            counts.retries[job] = value
        case ["losses", job]:
            counts.losses[job] = value
        case ["redelivered", job]:
            counts.redeliveries[job] = value
        case ["archived"]:
            counts.archived = value
        case ["waited" | "ran" as what, job, "sum"]:
            _times(counts, what)[job].total = value
        case ["waited" | "ran" as what, job, "more"]:
            _times(counts, what)[job].counts[-1] = value
        case ["waited" | "ran" as what, job, edge] if edge.isdigit() and int(edge) in BUCKETS:
            _times(counts, what)[job].counts[BUCKETS.index(int(edge))] = value


def _times(counts: Counts, what: str) -> dict[str, Any]:
    return counts.waited if what == "waited" else counts.ran
