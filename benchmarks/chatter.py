"""A job that writes 100,000 lines with ``logging``: kept by the runner, against written to a file."""

from __future__ import annotations

import statistics

import runner
from benchmarks.pairs import Row
from benchmarks.place import PATIENCE, Place

LINES = 100_000
ROUNDS = 5
MOST = 1.10


def measure(place: Place) -> list[Row]:
    """Let the job itself take the time, in turn."""
    rounds, lines = place.some(ROUNDS, 1), place.some(LINES, 1000)
    times: dict[bool, list[float]] = {True: [], False: []}
    with place.worker(place.our_worker(1, "bulk")):
        for number in range(rounds + 1):
            for to_file in (True, False) if number % 2 else (False, True):
                params = {"lines": lines, "to_file": to_file}
                run = runner.submit("chat", params, project=place.folder).wait(PATIENCE)
                assert run.state == "SUCCESS", run.error
                if number:
                    times[to_file].append(run.result)
    kept, filed = (statistics.median(times[to_file]) for to_file in (False, True))
    return [Row(f"{lines:,} lines of logging : to a file", kept, filed, "s", rounds, most=MOST)]
