"""Hints, of which RabbitMQ is to tell: which run waits in which queue. Those not told yet are in ``NS:hints``.

Whoever queues a run notes its hint in the same step (``lua/amqp/queues.lua``). Whoever publishes it takes it out once
RabbitMQ has confirmed; a crash in between publishes it twice, which wakes a taker for nothing. The ledger keeps the
order and says what runs: a hint that is lost, doubled, or late changes only when a taker asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from runner.ledger.hint import Hint
from runner.ledger.reach import reaching
from runner.ledger.scripts import HELD_SECONDS
from runner.ledger.store import Store
from runner.model.duration import milliseconds

MOST_AT_ONCE = 500
"""Hints that are published before anything is waited for."""


def take_due(store: Store, most: int = MOST_AT_ONCE, done: Iterable[Hint] = ()) -> list[Hint]:
    """Take hints that are due for anybody; they are due again after 10 s, unless they are done with by then.

    Args:
        store: of the project.
        most: how many at most.
        done: those that RabbitMQ has confirmed.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found = store.script("hints", most, milliseconds(HELD_SECONDS), *(each.write() for each in done))
    return [hint for text in found if (hint := Hint.read(text)) is not None]


def note_done(store: Store, hints: Iterable[Hint]) -> None:
    """Take hints out that RabbitMQ has confirmed.

    Raises:
        Unavailable: Redis cannot be reached; they are published again.
    """
    words = [each.write() for each in hints]
    if words:
        store.script("hints", 0, 0, *words)


def leave_to_workers(store: Store, hints: Iterable[Hint]) -> None:
    """Have hints of one's own published by any worker, at once.

    Raises:
        Unavailable: Redis cannot be reached; they are due after 10 s all the same.
    """
    entries = {each.write(): 0 for each in hints}
    if entries:
        with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
            pipe.zadd(store.keys.hints, entries, xx=True)
            pipe.lpush(store.keys.hints_ring, "1")
            pipe.ltrim(store.keys.hints_ring, 0, 0)
            pipe.execute()


def count_hints(store: Store) -> tuple[int, int]:
    """Return how many hints are not published yet, and for how many ms the oldest of them could have been.

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
