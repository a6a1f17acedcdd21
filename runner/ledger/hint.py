"""Hints that runs are waiting, and the interface that hands them over to RabbitMQ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Hint(NamedTuple):
    """A hint: a run waits in a queue. ``id`` is empty if it is not about a particular run."""

    id: str
    queue: str
    priority: int

    @classmethod
    def read(cls, text: str | bytes) -> Hint | None:
        """Parse a hint; return None for other text."""
        try:
            fields = json.loads(text)
            return cls(str(fields["id"]), str(fields["queue"]), int(fields["priority"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self) -> str:
        """Return the text of the hint in ``NS:hints`` and in messages."""
        # The same as in Lua: ids and queue names have no characters to escape.
        return f'{{"id":"{self.id}","queue":"{self.queue}","priority":{self.priority}}}'


class Courier(Protocol):
    """Hands hints over to RabbitMQ, directly or through workers."""

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Hand hints over; return those that RabbitMQ did not confirm in time, which stay recorded."""
        ...

    @property
    def trouble(self) -> str:
        """Return the reason why the last hints were not confirmed, for people."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
