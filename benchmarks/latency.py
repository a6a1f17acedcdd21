"""From submission to SUCCESS in one process: ``runner.submit().wait()`` and ``delay().get()``."""

from __future__ import annotations

import importlib
import sys

from benchmarks.pairs import Row, in_turn, quantile
from benchmarks.place import PATIENCE, Place

CONCURRENCY = 4
WARM_UP = 50
ROUNDS = 400
MOST = 1.2


def measure(place: Place) -> list[Row]:
    """Compare medians and 95th percentiles, with three idle workers on one server."""
    import runner

    sys.path.insert(0, str(place.folder))
    stock = importlib.import_module("stock")

    def submit() -> None:
        run = runner.submit("add", {"a": 1, "b": 2}, project=place.folder).wait(timeout=PATIENCE)
        assert run.result == 3, run

    def delay(app: str) -> None:
        assert getattr(stock, app).tasks["add"].delay(1, 2).get(timeout=PATIENCE) == 3

    works = {"runner": submit, "stock": lambda: delay("stock"), "careful": lambda: delay("careful")}
    with (
        place.worker(place.our_worker(CONCURRENCY)),
        place.worker(place.celery_worker("stock", CONCURRENCY)),
        place.worker(place.celery_worker("careful", CONCURRENCY)),
    ):
        in_turn(works, WARM_UP)
        times = in_turn(works, ROUNDS)
    rows = []
    for share, most in ((0.5, MOST), (0.95, MOST)):
        ours, plain, careful = (1000 * quantile(times[name], share) for name in works)
        name = f"p{100 * share:.0f}"
        rows.append(Row(f"submit to SUCCESS, {name} : delay().get()", ours, plain, "ms", ROUNDS, most=most))
        rows.append(Row(f"submit to SUCCESS, {name} : same, acks_late, STARTED", ours, careful, "ms", ROUNDS))
    return rows
