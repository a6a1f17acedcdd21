"""A queue and the workers that take runs from it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runner._dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The state of a queue.

    Attributes:
        waiting: the number of messages.
        priorities: the number of messages of each priority that has any, by its number as text.
        delayed: the number of runs that will be added later.
        held: the number of runs that wait for a required job, for their rate, for a concurrency slot, or for the end
            of a pause.
        workers: the number of workers that take runs from the queue.
        concurrency: how many runs these workers perform at once in total.
        running: how many runs these workers perform now, from any queue.
        oldest: how long ago the next run was submitted, in seconds; None if nothing waits, or if it is not known.
        hints: the number of messages in RabbitMQ for idle workers; None if Redis is the broker, or if it is not known.
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
        """Return the queue as JSON."""
        return asdict(self)
