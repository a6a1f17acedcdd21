"""The fleet's chores, done by whichever worker comes first."""

from __future__ import annotations

import time
from collections.abc import Mapping

from runner._dataclass import dataclass
from runner.ledger.reach import reaching
from runner.ledger.record import pairs
from runner.ledger.store import Store
from runner.model.duration import milliseconds

PRUNED_AT_ONCE = 5
"""Runs that one script removes, so that Redis is not kept for long: half a millisecond among a million."""

PRUNINGS = 20
"""Such scripts after one beat, at most."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The result of a beat."""

    next_due: float | None
    """Seconds until the next run is due, or may be due by its rate; None if there is none."""
    terminating: Mapping[str, str]
    """The ids of runs to end, with the name of the signal."""
    more: bool
    """Whether there is more to do at once."""
    hooks: int
    """How many entries of the outbox are due."""
    turn: float
    """Seconds until the worker's next turn."""
    before: int
    """How many workers have a turn before it in each round."""
    waiting: int
    """How many runs wait that this worker wakes its idle takers for; 0 where rings in Redis wake them."""


def beat(store: Store, *, worker: str, keep: float, lease: float, record: Mapping[str, str | int]) -> Beat:
    """Do the fleet's chores (see ``beat.lua``), and prune if something is due.

    Args:
        store: of the project.
        worker: its name; an empty one for somebody who is none.
        keep: seconds for which the worker counts as alive.
        lease: seconds that a claim lasts.
        record: of the worker.

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
    """Do the fleet's chores from a process that is no worker; return how many entries of the outbox are due.

    The claims of a dead worker are taken back only after a lease of sweeps, so that live workers can renew theirs
    first. While there are such claims, this goes on for a lease, but for ``patience`` seconds at most.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    lease = store.settings.worker.lease
    deadline = time.monotonic() + patience
    while True:
        found = beat(store, worker="", keep=0.0, lease=lease, record={})
        if time.monotonic() >= deadline:
            # Also whoever sweeps often, and asks nothing more.
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
    """Remove runs that retention no longer keeps, some; return whether there may be more."""
    return all(store.script("prune", PRUNED_AT_ONCE) for _ in range(PRUNINGS))
