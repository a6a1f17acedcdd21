"""Hints for RabbitMQ: which run waits in which queue. Unpublished hints are in ``NS:hints``.

The script that queues a run records its hint (``lua/amqp/queues.lua``). The publisher removes the hint after RabbitMQ's
confirm; a crash in between publishes it twice, which wakes a taker for nothing. The ledger keeps the order of the runs,
so a lost, duplicated, or late hint only changes the time when a taker asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from runner.ledger.hint import Hint
from runner.ledger.reach import reaching
from runner.ledger.scripts import HELD_SECONDS
from runner.ledger.store import Store
from runner.model.duration import milliseconds

MOST_AT_ONCE = 500
"""The maximum number of hints per batch."""


def take_due(store: Store, most: int = MOST_AT_ONCE, done: Iterable[Hint] = ()) -> list[Hint]:
    """Take due hints. Hints that are not published are due again after 10 s.

    Args:
        store: the store of the project.
        most: the maximum number of hints.
        done: hints that RabbitMQ has confirmed, to be removed.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found = store.script("hints", most, milliseconds(HELD_SECONDS), *(hint.write() for hint in done))
    return [hint for text in found if (hint := Hint.read(text)) is not None]


def note_done(store: Store, hints: Iterable[Hint]) -> None:
    """Remove hints that RabbitMQ has confirmed.

    Raises:
        Unavailable: Redis cannot be reached; the hints are published again.
    """
    texts = [hint.write() for hint in hints]
    if texts:
        store.script("hints", 0, 0, *texts)


def leave_to_workers(store: Store, hints: Iterable[Hint]) -> None:
    """Leave hints to the workers, which publish them at once.

    Raises:
        Unavailable: Redis cannot be reached; the hints are due after 10 s anyway.
    """
    entries = {hint.write(): 0 for hint in hints}
    if entries:
        with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
            pipe.zadd(store.keys.hints, entries, xx=True)
            pipe.lpush(store.keys.hints_ring, "1")
            pipe.ltrim(store.keys.hints_ring, 0, 0)
            pipe.execute()


def count_hints(store: Store) -> tuple[int, int]:
    """Return the number of unpublished hints, and how long the oldest has been due (ms).

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
        pipe.zcard(store.keys.hints)
        pipe.zrange(store.keys.hints, 0, 0, withscores=True)
        pipe.time()
        number, oldest, (seconds, micros) = pipe.execute()
    late = seconds * 1000 + micros // 1000 - oldest[0][1] if oldest else 0
    return int(number), max(0, int(late))
