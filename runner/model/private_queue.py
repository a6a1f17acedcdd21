"""The private queue of ``runner run``, which starts a worker for a single run."""

from __future__ import annotations

import re

_PRIVATE = re.compile(r"run-[0-9a-f]{8}\Z")


def private_queue(run_id: str) -> str:
    """Return the name of the private queue for a run."""
    return f"run-{run_id[:8]}"


def is_private(queue: str) -> bool:
    """Return whether a queue is private. ``lua/amqp/queues.lua`` uses the same pattern."""
    return _PRIVATE.match(queue) is not None
