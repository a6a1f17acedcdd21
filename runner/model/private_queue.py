"""The queue of a ``runner run``, which has a worker of its own for a while."""

from __future__ import annotations

import re

_PRIVATE = re.compile(r"run-[0-9a-f]{8}\Z")


def private_queue(run_id: str) -> str:
    """Return the name of the queue for a run and its worker."""
    return f"run-{run_id[:8]}"


def is_private(queue: str) -> bool:
    """Return whether a queue is such a one. ``lua/amqp/queues.lua`` knows the same form."""
    return _PRIVATE.match(queue) is not None
