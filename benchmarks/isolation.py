"""What a process of its own for each run costs, beside a process that is put back after each run.

Both kinds of job do nothing, on workers that are alike; a third kind leaves its process changed, which is put back. A
worker has one process, so the time of a run is all that it takes: the fork, the run, the end of the process.
"""

from __future__ import annotations

import statistics

from benchmarks.drain import drain
from benchmarks.pairs import Row
from benchmarks.place import Place
from benchmarks.systems import Runner

RUNS = 300
ROUNDS = 3
MOST_MILLISECONDS = 10.0
JOBS = "jobs:\n  apart: {task: work:noop, queue: bulk, isolation: process}\n"


def measure(place: Place) -> list[Row]:
    """Compare the time of a run under both kinds of isolation, and what putting back adds."""
    rounds = place.some(ROUNDS, 1)
    # Thousands of those that a taker performs in a second.
    many = place.some(20 * RUNS, 1000)
    runs = {"noop": many, "apart": place.some(RUNS, 40), "untidy": many}
    took: dict[str, list[float]] = {"noop": [], "apart": [], "untidy": []}
    # Only while it is needed: pools without processes refuse all jobs of a place with this one.
    file = place.folder / "jobs.d" / "apart.yaml"
    file.write_text(JOBS)
    try:
        for number in range(rounds):
            for job in list(took)[:: -1 if number % 2 else 1]:
                pace = drain(place, Runner(place, job), 1, runs[job])
                took[job].append(1000 / pace.runs_a_second)
    finally:
        file.unlink()
    figures = {job: statistics.median(times) for job, times in took.items()}
    return [
        Row("isolation: process, no-op run : default", figures["apart"], figures["noop"], "ms a run", rounds,
            most=MOST_MILLISECONDS, bounds="figure"),
        Row("run that leaves folder, umask, and a variable changed : no-op run", figures["untidy"], figures["noop"],
            "ms a run", rounds),
    ]  # fmt: skip
