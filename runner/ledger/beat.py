"""The maintenance of the fleet, done by the worker whose turn it is."""

from __future__ import annotations

import time
from collections.abc import Mapping

from runner._dataclass import dataclass
from runner.ledger.reach import reaching
from runner.ledger.record import pairs
from runner.ledger.store import Store
from runner.model.duration import milliseconds

PRUNED_AT_ONCE = 5
"""The maximum number of runs that one script removes, so that it blocks Redis only briefly: half a millisecond with a
million runs."""

PRUNINGS = 20
"""The maximum number of such scripts per beat."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The result of a beat."""

    next_due: float | None
    """Seconds until the next run is due, or may be due by its rate; None without such a run."""
    terminating: Mapping[str, str]
    """The ids of runs to terminate, with the name of the signal."""
    more: bool
    """Whether another beat should follow at once."""
    hooks: int
    """The number of due outbox entries."""
    turn: float
    """Seconds until the worker's next turn."""
    before: int
    """The number of workers with a turn before this one in each round."""
    waiting: int
    """The number of waiting runs for which this worker wakes idle takers; 0 if bells in Redis wake them."""


def beat(store: Store, *, worker: str, keep: float, lease: float, record: Mapping[str, str | int]) -> Beat:
    """Do the maintenance of the fleet (see ``beat.lua``), and prune if something is due.

    Args:
        store: the store of the project.
        worker: the name of the worker; empty for another process.
        keep: seconds for which the worker counts as alive.
        lease: seconds that a claim lasts.
        record: the record of the worker.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    flat = [part for pair in record.items() for part in pair]
    next_due, terminating, more, hooks, prunable, turn, before, waiting = store.script(
        "beat", worker, milliseconds(keep), milliseconds(lease), *flat
    )
    left = _prune(store) if prunable else False
    return Beat(
        next_due=float(next_due) / 1000 if next_due else None,
        terminating=pairs(terminating),
        more=bool(more) or left,
        hooks=int(hooks),
        turn=float(turn) / 1000,
        before=int(before),
        waiting=int(waiting),
    )


def sweep(store: Store, patience: float) -> int:
    """Do the maintenance of the fleet from a process that is not a worker; return the number of due outbox entries.

    The claims of a dead worker are reclaimed only after a lease of sweeps, so that live workers can renew theirs first.
    While there are such claims, this goes on for a lease, but at most for ``patience`` seconds.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    lease = store.settings.worker.lease
    deadline = time.monotonic() + patience
    while True:
        found = beat(store, worker="", keep=0.0, lease=lease, record={})
        if time.monotonic() >= deadline:
            # Processes that sweep often do this, too.
            return found.hooks
        if found.more:
            continue
        now = milliseconds(store.now())
        with reaching(store.settings):
            overdue = store.client.zcount(store.keys.leases, "-inf", f"({now}")
        if not overdue:
            return found.hooks
        time.sleep(min(0.25, lease / 4))


def _prune(store: Store) -> bool:
    """Remove some of the runs that retention no longer keeps; return whether there may be more."""
    return all(store.script("prune", PRUNED_AT_ONCE) for _ in range(PRUNINGS))
