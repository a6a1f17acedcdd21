"""The names of queues that anybody ever took runs from."""

from __future__ import annotations

from runner.ledger.reach import reaching
from runner.ledger.scripts import run_script
from runner.ledger.store import Store


def remove_queue_name(store: Store, name: str) -> None:
    """Take a queue that nobody takes from any more off all lists, unless something waits in it.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        run_script(store.client, store.namespace, "queue_names", "1", name, package="runner.ledger.health")
