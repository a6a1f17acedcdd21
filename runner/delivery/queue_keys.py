"""The keys of queues as Kombu transport options, for tools that read the length of a queue from Redis (Flower).

Such tools build a key from a prefix, the name of the queue, a separator, and a priority step. ``delivery.transport``
does not read these options.
"""

from __future__ import annotations

from typing import Any

from runner.ledger.inbox import INBOX, INBOX_KEYS
from runner.ledger.keys import Keys

SEPARATOR = ":"
_PLAIN = {f"plain{step}": key for step, key in zip((0, 3, 6, 9), INBOX_KEYS, strict=True)}
"""Priority steps that only the queue of plain clients has: its runs wait in other keys than their messages."""

STEPS = (*(str(priority) for priority in range(10)), *_PLAIN)
"""Text, because Flower omits a step of 0 from the key."""

OPTIONS = ("global_keyprefix", "sep", "priority_steps")


class Prefix(str):
    """The prefix of the keys of all queues. The keys for messages of plain Celery clients do not have it."""

    __slots__ = ()

    def __add__(self, rest: str) -> str:
        queue, _, step = rest.rpartition(SEPARATOR)
        return _PLAIN[step] if queue == INBOX and step in _PLAIN else f"{self}{rest}"


def queue_key_options(namespace: str) -> dict[str, Any]:
    """Return the transport options for the queue keys of a namespace."""
    return {"global_keyprefix": Prefix(Keys(namespace).named("queue:")), "sep": SEPARATOR, "priority_steps": STEPS}
