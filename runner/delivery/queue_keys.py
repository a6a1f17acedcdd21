"""The keys of queues in the words of Kombu's transport options, for tools that ask Redis how long a queue is (Flower).

They take a prefix, the queue's name, a separator and a step of priority for a key. ``delivery.transport`` does not read
these options.
"""

from __future__ import annotations

from typing import Any

from runner.ledger.inbox import INBOX, INBOX_KEYS
from runner.ledger.keys import Keys

SEPARATOR = ":"
_PLAIN = {f"plain{step}": key for step, key in zip((0, 3, 6, 9), INBOX_KEYS, strict=True)}
"""Steps that only the queue of plain clients has: its runs wait in other keys than their messages."""

STEPS = (*(str(priority) for priority in range(10)), *_PLAIN)
"""As text, since Flower leaves a step of 0 out of the key."""

OPTIONS = ("global_keyprefix", "sep", "priority_steps")


class Prefix(str):
    """The beginning of the keys of all queues; the messages of plain Celery clients are in keys without it."""

    __slots__ = ()

    def __add__(self, rest: str) -> str:
        queue, _, step = rest.rpartition(SEPARATOR)
        return _PLAIN[step] if queue == INBOX and step in _PLAIN else f"{self}{rest}"


def queue_key_options(namespace: str) -> dict[str, Any]:
    """Return the transport options that describe the keys of a namespace's queues."""
    return {"global_keyprefix": Prefix(Keys(namespace).named("queue:")), "sep": SEPARATOR, "priority_steps": STEPS}
