"""Fifty idle workers with one process each: what they ask of Redis at rest, and when one run is submitted to them."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import runner
from benchmarks.drain import PAUSE, load_of
from benchmarks.pairs import Row
from benchmarks.place import PATIENCE, Place
from runner.model.run import State

WORKERS = 50
FEW = 10
SETTLE_SECONDS = 5.0
REST_SECONDS = 25.0
"""An idle worker waits this long for messages of plain clients, so that it does in this time all that it ever does."""
ROUNDS = 11
AFTERWARDS = 1.0
MOST_SCRIPTS_A_SECOND = 10
MOST_CONNECTIONS = 5
MOST_SCRIPTS = 10


@dataclass(frozen=True)
class Rest:
    """What a fleet does while there is nothing to do; ``connections`` are those of one worker."""

    scripts_a_second: float
    commands_a_second: float
    connections: float


def measure(place: Place) -> list[Row]:
    """Look at a few workers, then at all of them: the cost of a fleet must not grow with it."""
    few, all_ = place.some(FEW, 1), place.some(WORKERS, 3)
    words = [*place.our_worker(1, "bulk"), "--log-level", "INFO"]
    own = len(place.client.client_list())
    with place.workers(words, few):
        small = _rest(place, few, own)
        with place.workers(words, all_ - few):
            large = _rest(place, all_, own)
            rounds = place.some(ROUNDS, 2)
            until, after = zip(*(_submission(place, large) for _ in range(rounds)), strict=True)
    name, fewer = f"{all_} idle workers, -c 1", f"with {few}:"
    return [
        Row(f"{name}: script calls", large.scripts_a_second, None, "a second", 1, most=MOST_SCRIPTS_A_SECOND,
            bounds="figure", beside={fewer: small.scripts_a_second}),
        Row(f"{name}: commands, those of scripts too", large.commands_a_second, None, "a second", 1,
            beside={fewer: small.commands_a_second}),
        Row(f"{name}: connections", large.connections, None, "a worker", 1, most=MOST_CONNECTIONS, bounds="figure",
            beside={fewer: small.connections}),
        Row(f"one submission to {name}: script calls until it runs", statistics.median(until), None, "", rounds,
            most=MOST_SCRIPTS, bounds="figure"),
        Row("the same: script calls in the second after that, less those at rest", statistics.median(after), None,
            "", rounds),
    ]  # fmt: skip


def _rest(place: Place, workers: int, own: int) -> Rest:
    time.sleep(SETTLE_SECONDS if not place.quick else 1.0)
    seconds = REST_SECONDS if not place.quick else 1.0
    connections = len(place.client.client_list()) - own
    start, before = time.perf_counter(), load_of(place.client)
    time.sleep(seconds)
    load, took = load_of(place.client) - before, time.perf_counter() - start
    # INFO, three times, is ours.
    return Rest(load.scripts / took, (load.commands - 3) / took, connections / workers)


def _submission(place: Place, rest: Rest) -> tuple[float, float]:
    """Submit a run that waits for its gate; return the script calls until it has started, and in the second after."""
    gate = place.folder / "gate"
    before, asked = load_of(place.client), 0
    handle = runner.submit("held", {"gate": str(gate)}, project=place.folder)
    deadline = time.monotonic() + PATIENCE
    while handle.state is State.PENDING:
        asked += 1
        assert time.monotonic() < deadline, f"run {handle.id} does not start"
        time.sleep(0.002)
    # One script for each question, the last included.
    until = load_of(place.client)
    time.sleep(AFTERWARDS)
    after = load_of(place.client)
    gate.touch()
    run = handle.wait(PATIENCE)
    assert run.state is State.SUCCESS, run
    gate.unlink()
    time.sleep(PAUSE)
    return (until - before).scripts - asked - 1, max(0.0, (after - until).scripts - rest.scripts_a_second * AFTERWARDS)
