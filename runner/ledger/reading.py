"""Read runs by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner.errors import UnknownRun
from runner.ledger.record import pairs, read_record
from runner.ledger.store import Store
from runner.model.run import Run

if TYPE_CHECKING:
    from runner.ledger.flow_progress import FlowProgress


def read_runs(store: Store, ids: Sequence[str]) -> list[Run]:
    """Return the known runs among ``ids``, in the same order, after expiring overdue ones.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if not ids:
        return []
    answer = store.script("read", *ids)
    return [
        read_record(run_id, pairs(found[0]), found[1] or None, _progress(found[2:]) if found[2:] else None)
        for run_id, found in zip(ids, answer, strict=True)
        if found
    ]


def _progress(found: Sequence[Any]) -> FlowProgress:
    from runner.ledger.flow_progress import FlowProgress  # start-up time: most runs are not flows

    return FlowProgress.of(*found)


def get_run(store: Store, run_id: str) -> Run:
    """Return a run by its full id.

    Raises:
        UnknownRun: it was never submitted, was forgotten, or was pruned.
        Unavailable: Redis cannot be reached.
    """
    return get_runs(store, [run_id])[0]


def get_runs(store: Store, ids: Sequence[str]) -> list[Run]:
    """Return all runs of ``ids``.

    Raises:
        UnknownRun: one of them is unknown; the error names the first.
        Unavailable: Redis cannot be reached.
    """
    found = read_runs(store, ids)
    known = {run.id for run in found}
    for run_id in ids:
        if run_id not in known:
            raise unknown_run(run_id)
    return found


def unknown_run(run_id: str) -> UnknownRun:
    """Return the error for an id that the ledger does not know."""
    return UnknownRun(
        f"no run {run_id}: it was never submitted, was forgotten, or is older than its retention",
        hint="runner runs lists what is known",
    )
