"""One submission from a shell: ``runner submit``, ``celery call``, ``rq enqueue``, to queues that nobody takes from."""

from __future__ import annotations

import statistics
import sys

from benchmarks.pairs import Row, in_turn
from benchmarks.peers import url_of
from benchmarks.place import Place

ROUNDS = 21
MOST = 0.35


def measure(place: Place) -> list[Row]:
    """Compare the times of whole processes; an empty Python program is the floor under all."""
    celery = ("-A", "benchmarks.peers.with_celery:plain", "call", "add", "--kwargs", '{"a": 1, "b": 2}')
    rq = ("enqueue", "--url", url_of("rq"), "--queue", "nobody", "--quiet", "work.add", "a:=1", "b:=2")
    rounds = place.some(ROUNDS, 2)
    times = in_turn(
        {
            "runner": lambda: place.command(
                "runner", "submit", "add", "-p", "a=1", "-p", "b=2", "--queue", "nobody", "--quiet"
            ),
            "Celery": lambda: place.command("celery", *celery, "--queue", "nobody"),
            "rq enqueue": lambda: place.command("rq", *rq),
            "python -c pass": lambda: place.command(sys.executable, "-c", "pass"),
        },
        rounds,
    )
    figures = {name: 1000 * statistics.median(values) for name, values in times.items()}
    beside = {name: figures[name] for name in ("rq enqueue", "python -c pass")}
    return [
        Row("runner submit : celery call", figures["runner"], figures["Celery"], "ms", rounds, most=MOST, beside=beside)
    ]
