"""``--help``, as whole processes. An empty Python program is the floor under both."""

from __future__ import annotations

import statistics
import sys

from benchmarks.pairs import Row, in_turn
from benchmarks.place import Place

ROUNDS = 15


def measure(place: Place) -> list[Row]:
    """Compare ``runner --help`` with ``celery --help``."""
    rounds = place.some(ROUNDS, 2)
    times = in_turn(
        {
            "runner": lambda: place.command("runner", "--help"),
            "celery": lambda: place.command("celery", "--help"),
            "empty": lambda: place.command(sys.executable, "-c", "pass"),
        },
        rounds,
    )
    ours, celery, empty = (1000 * statistics.median(times[name]) for name in ("runner", "celery", "empty"))
    return [
        Row("runner --help : celery --help", ours, celery, "ms", rounds),
        Row("runner --help : python -c pass", ours, empty, "ms", rounds),
    ]
