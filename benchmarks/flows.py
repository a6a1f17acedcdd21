"""Flows: ten thousand items of one step beside a plain queue of as many runs, and the time from a step to the next.

Both queues are worked off by one worker. Of the flow, the runs are not there when the worker starts: it makes them as
it goes. Counting begins when a tenth is done, as in ``drain``.
"""

from __future__ import annotations

import statistics
import time

import runner
from benchmarks.drain import PAUSE, SLOWEST
from benchmarks.pairs import Row, quantile
from benchmarks.place import PATIENCE, Place
from benchmarks.systems import Runner
from runner.api import open_project
from runner.ledger.tally import tally
from runner.model.run import State, to_datetime

JOBS = """\
jobs:
  fan:
    queue: bulk
    params: {items: {type: integer, required: true}}
    steps:
      list: {task: "listing:count", kwargs: {items: "${params.items}"}}
      item: {needs: [list], each: "${steps.list.result}", task: "work:noop"}
  row:
    queue: bulk
    steps:
      first: {task: "work:noop"}
      second: {needs: [first], task: "work:noop"}
      last: {needs: [second], task: "work:noop"}
"""
CODE = """\
def count(items):
    return list(range(items))
"""
ITEMS = 10_000
ROUNDS = 3
LEAST = 0.8
CONCURRENCY = 2
FLOWS = 200
WORKERS = 2
WARM_UP = 10
MOST_MILLISECONDS = 100


def measure(place: Place) -> list[Row]:
    """Work off a fan-out and a plain queue in turn; then run a row of steps on an idle fleet, one at a time."""
    (place.folder / "jobs.d" / "flows.yaml").write_text(JOBS)
    (place.folder / "listing.py").write_text(CODE)
    rounds, items = place.some(ROUNDS, 1), place.some(ITEMS, 300)
    paces: dict[str, list[float]] = {"fan": [], "noop": []}
    for number in range(rounds):
        for name in list(paces)[:: -1 if number % 2 else 1]:
            paces[name].append(_fan_out(place, items) if name == "fan" else _plain(place, items))
    fan, plain = (statistics.median(pace) for pace in paces.values())
    waits = _waits(place)
    what = f"fan-out of {items:,} no-op items : drain of {items:,} no-op runs, -c {CONCURRENCY}"
    return [
        Row(what, fan, plain, "runs/s", rounds, least=LEAST),
        *(
            Row(f"end of a step to the start of the next, idle fleet, p{100 * share:.0f}", quantile(waits, share),
                None, "ms", len(waits), most=MOST_MILLISECONDS, bounds="figure")
            for share in (0.5, 0.95)
        ),
    ]  # fmt: skip


def _fan_out(place: Place, items: int) -> float:
    system = Runner(place)
    system.client.flushdb()
    handle = runner.submit("fan", {"items": items}, project=place.folder)
    speed = _pace(place, system, "fan/item", items)
    run = handle.wait(PATIENCE)
    assert run.state is State.SUCCESS, run
    return speed


def _plain(place: Place, items: int) -> float:
    system = Runner(place)
    system.client.flushdb()
    system.submit_many(items)
    speed = _pace(place, system, "noop", items)
    system.check()
    return speed


def _pace(place: Place, system: Runner, job: str, items: int) -> float:
    """Run a worker until as many runs of a job have succeeded; return how many a second did."""
    ledger = open_project(place.folder).ledger
    deadline = time.monotonic() + PATIENCE + items / SLOWEST

    def done() -> int:
        # A sample of one run, which is cheap: of none, it would be all.
        [found] = tally(ledger, [job], [], 1)
        return found.counts[State.SUCCESS]

    def reach(least: float) -> int:
        while (found := done()) < least:
            assert time.monotonic() < deadline, f"{found} of {items} runs of {job} have ended"
            time.sleep(PAUSE)
        return found

    with place.worker(system.worker(CONCURRENCY), wait=False):
        before, start = reach(0.1 * items), time.perf_counter()
        reach(items)
        return (items - before) / (time.perf_counter() - start)


def _waits(place: Place) -> list[float]:
    """Return the milliseconds from the end of the second step to the start of the last one, sorted."""
    found = []
    words = [*place.our_worker(CONCURRENCY, "bulk"), "--log-level", "WARNING"]
    place.client.flushdb()
    with place.workers(words, WORKERS, wait=False):
        for number in range(place.some(WARM_UP, 1) + place.some(FLOWS, 5)):
            run = runner.submit("row", project=place.folder).wait(PATIENCE)
            assert run.state is State.SUCCESS, run
            if number >= place.some(WARM_UP, 1):
                found.append(_wait(place, run.id))
    return sorted(found)


def _wait(place: Place, flow: str) -> float:
    steps = {step["name"]: step for step in runner.get_run(flow, project=place.folder).document()["steps"]}
    ended, started = (
        to_datetime(steps[name][key]) for name, key in (("second", "finished_at"), ("last", "started_at"))
    )
    return 1000 * (started - ended).total_seconds()
