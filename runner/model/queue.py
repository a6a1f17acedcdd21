"""A queue, as the fleet and Redis tell of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runner._dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue: what waits by priority, what comes later, who takes from it; ``oldest`` in seconds.

    ``waiting`` counts messages, ``priorities`` those of each priority that has any, by its number as text. ``delayed``
    counts runs to be put into it later, and ``held`` those that were set aside: for a job that they require, for their
    rate, for a slot of concurrency, or for the end of a pause. ``workers`` take from it. They perform ``concurrency``
    runs at once in all, and ``running`` now, of whatever queue. ``oldest`` tells how long ago the next run was
    submitted. It is None if nothing waits, or if that is not known. ``hints`` are in RabbitMQ, for idle workers; None
    where Redis is the broker, or where RabbitMQ does not tell.
    """

    name: str
    waiting: int
    priorities: dict[str, int]
    delayed: int
    held: int
    workers: int
    concurrency: int
    running: int
    oldest: float | None
    hints: int | None = None

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)
