"""Pages of the dashboard with 0, 5, 60, and 1,000 jobs: the time to the first byte, and the size of the page."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.million import Copies
from benchmarks.pairs import Row
from benchmarks.peers import url_of
from benchmarks.place import PATIENCE, Place
from runner.actions.project import Project
from runner.settings import load_settings

JOBS = (0, 5, 60, 1_000)
RUNS_PER_JOB = 20
PAGES = ("/", "/jobs", "/runs", "/schedule", "/fleet")
ROUNDS = 11
MOST_MILLISECONDS = 300.0
MOST_KIBIBYTES = 100.0


def measure(place: Place) -> list[Row]:
    """Ask for each page as a browser does, over a connection that stays open."""
    return [row for jobs in JOBS for row in _measure(place, place.some(jobs, min(jobs, 60)))]


def _measure(place: Place, jobs: int) -> list[Row]:
    rounds, namespace = place.some(ROUNDS, 1), f"bench-dashboard-{jobs}"
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        (folder / "jobs.d").mkdir()
        (folder / "runner.yaml").write_text(f"redis_url: env:BENCH_URL\nnamespace: {namespace}\n")
        lines = (
            f"  job-{n}: {{task: 'w:w', description: 'The job with the number {n}', tags: [team-{n % 10}], "
            f"schedule: '{n % 60} {n // 60 % 24} * * *'}}\n"
            for n in range(jobs)
        )
        (folder / "jobs.d" / "many.yaml").write_text("jobs:\n" + "".join(lines) if jobs else "jobs: {}\n")
        environment = {**place.environment, "BENCH_URL": url_of("other")}
        ledger = Project(load_settings(folder, environ=environment)).ledger
        try:
            if jobs:
                Copies(ledger, round(time.time() * 1000)).fill(jobs * RUNS_PER_JOB, 0, jobs)
            here = dataclasses.replace(place, folder=folder, environment=environment)
            with here.web() as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
                pages = [*PAGES, "/jobs/job-0"] if jobs else PAGES
                return [row for page in pages for row in _page(client, page, jobs, rounds)]
        finally:
            for key in ledger.client.scan_iter(f"{namespace}:*", count=1000):
                ledger.client.unlink(key)
            ledger.close()


def _page(client: httpx.Client, page: str, jobs: int, rounds: int) -> list[Row]:
    took, size = [], 0
    for _ in range(rounds + 1):  # the first one warms up
        start = time.perf_counter()
        with client.stream("GET", page) as answer:
            parts = answer.iter_raw()
            first = next(parts)
            took.append((time.perf_counter() - start) * 1000)
            size = len(first) + sum(map(len, parts))
            answer.raise_for_status()
    what = f"{page} with {jobs:,} jobs"
    return [
        Row(f"{what}: first byte", statistics.median(took[1:]), None, "ms", rounds,
            most=MOST_MILLISECONDS, bounds="figure"),
        Row(f"{what}: size", size / 1024, None, "KiB", 1, most=MOST_KIBIBYTES, bounds="figure"),
    ]  # fmt: skip
