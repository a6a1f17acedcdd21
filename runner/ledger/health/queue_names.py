"""The names of all queues that workers ever consumed."""

from __future__ import annotations

from runner.ledger.reach import reaching
from runner.ledger.scripts import run_script
from runner.ledger.store import Store


def remove_queue_name(store: Store, name: str) -> None:
    """Remove a queue without consumers from all lists, unless it has waiting runs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        run_script(store.client, store.namespace, "queue_names", "1", name, package="runner.ledger.health")
