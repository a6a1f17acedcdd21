"""A hint that a run waits, and whoever hands hints over to RabbitMQ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Hint(NamedTuple):
    """A hint: a run waits in a queue. ``id`` is empty where no run of ours is meant."""

    id: str
    queue: str
    priority: int

    @classmethod
    def read(cls, text: str | bytes) -> Hint | None:
        """Return the hint that a text says; None if it says none."""
        try:
            said = json.loads(text)
            return cls(str(said["id"]), str(said["queue"]), int(said["priority"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self) -> str:
        """Return it as it stands in ``NS:hints`` and in messages."""
        # As Lua writes it: neither ids nor names of queues have anything to escape.
        return f'{{"id":"{self.id}","queue":"{self.queue}","priority":{self.priority}}}'


class Courier(Protocol):
    """Hands hints over to RabbitMQ, or to somebody who will."""

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Return those that RabbitMQ has not confirmed in a bounded time; they stay noted."""
        ...

    @property
    def trouble(self) -> str:
        """Why the last ones were not confirmed, for people."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...
