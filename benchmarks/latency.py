"""From submission to result in one process: ``runner.submit().wait()``, ``delay().get()``, and huey's ``get``."""

from __future__ import annotations

import importlib

import runner
from benchmarks.pairs import Row, in_turn, quantile
from benchmarks.place import PATIENCE, Place
from benchmarks.systems import huey_worker

CONCURRENCY = 4
WARM_UP = 50
ROUNDS = 2000
MOST = 1.0


def measure(place: Place) -> list[Row]:
    """Compare medians and 99th percentiles, with an idle worker of each on one server."""
    celery = importlib.import_module("benchmarks.peers.with_celery")
    huey = importlib.import_module("benchmarks.peers.with_huey")

    def ours() -> None:
        run = runner.submit("add", {"a": 1, "b": 2}, project=place.folder).wait(timeout=PATIENCE)
        assert run.result == 3, run

    def theirs() -> None:
        assert celery.plain.tasks["add"].delay(1, 2).get(timeout=PATIENCE) == 3

    def hueys() -> None:
        assert huey.add(1, 2).get(blocking=True, timeout=PATIENCE) == 3

    works = {"runner": ours, "Celery": theirs, "huey": hueys}
    rounds = place.some(ROUNDS, 20)
    with (
        place.worker(place.our_worker(CONCURRENCY)),
        place.worker(place.celery_worker("plain", CONCURRENCY)),
        place.worker(huey_worker("prompt", CONCURRENCY)),
    ):
        in_turn(works, place.some(WARM_UP, 1))
        times = in_turn(works, rounds)
    return [_row(times, share, rounds) for share in (0.5, 0.99)]


def _row(times: dict[str, list[float]], share: float, rounds: int) -> Row:
    figures = {name: 1000 * quantile(seconds, share) for name, seconds in times.items()}
    what = f"submission to result, p{100 * share:.0f} : delay().get()"
    return Row(what, figures["runner"], figures["Celery"], "ms", rounds, most=MOST, beside={"huey": figures["huey"]})
