"""One submission from a shell: ``runner submit`` and ``celery call``, to queues that nobody takes from."""

from __future__ import annotations

import statistics

from benchmarks.pairs import Row, in_turn
from benchmarks.place import Place

ROUNDS = 21
MOST = 0.6


def measure(place: Place) -> list[Row]:
    """Compare the times of whole processes."""
    ours = ("submit", "add", "-p", "a=1", "-p", "b=2", "--queue", "nobody")
    theirs = ("-A", "stock:stock", "call", "add", "--kwargs", '{"a": 1, "b": 2}', "--queue", "nobody")
    times = in_turn(
        {"runner": lambda: place.command("runner", *ours), "celery": lambda: place.command("celery", *theirs)}, ROUNDS
    )
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    return [Row("runner submit : celery call", medians["runner"], medians["celery"], "ms", ROUNDS, most=MOST)]
