"""Loading and checking catalogs, cold and cached, beside a plain ``yaml.load`` of the same files."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.pairs import Row, in_turn
from benchmarks.place import Place
from runner.catalog.catalog import load_catalog
from runner.settings import load_settings

SIZES = {1_000: 9, 10_000: 3}
QUICK_SIZES = {100: 1}
"""Number of jobs to rounds."""
JOBS_PER_FILE = 20
LEAST_COLD = 4_000
LEAST_CACHED = 50_000

JOB = """\
  job-{n}:
    task: reports.nightly:build
    description: Revenue report of one day, number {n}
    tags: [finance, nightly]
    kwargs: {{currency: EUR, shard: {n}}}
    params:
      day: {{type: string, format: date, required: true, description: Day to report}}
      region: {{type: string, enum: [eu, us], default: eu}}
    env: {{REPORT_MODE: full}}
    queue: reports
    priority: {priority}
    expires: 1h
    timeout: 15m
    retry:
      max_retries: 5
      delay: 10s
      backoff: exponential
      for: [ConnectionError, requests.Timeout]
"""


def measure(place: Place) -> list[Row]:
    """Count jobs a second."""
    return [row for jobs, rounds in (QUICK_SIZES if place.quick else SIZES).items() for row in _measure(jobs, rounds)]


def _measure(jobs: int, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        write_project(folder, jobs)
        # Files as young as this are not cached, since a second change could go unnoticed.
        time.sleep(0.3)
        settings = load_settings(folder, environ={})
        files = sorted((folder / "jobs.d").iterdir())

        def plain() -> None:
            for file in files:
                yaml.load(file.read_bytes(), yaml.CSafeLoader)

        def load(*, use_cache: bool) -> None:
            assert len(load_catalog(settings, use_cache=use_cache).jobs) == jobs

        # The round that warms up fills the cache.
        times = in_turn(
            {"plain": plain, "cold": lambda: load(use_cache=False), "cached": lambda: load(use_cache=True)}, rounds
        )
    speed = {name: jobs / statistics.median(values) for name, values in times.items()}
    return [
        Row(f"load {jobs:,} jobs, {state} : yaml.load", speed[state], speed["plain"], "jobs/s", rounds, least=least,
            bounds="figure")
        for state, least in (("cold", LEAST_COLD), ("cached", LEAST_CACHED))
    ]  # fmt: skip


def write_project(folder: Path, jobs: int) -> None:
    """Write ``jobs`` realistic jobs, twenty a file."""
    (folder / "runner.yaml").touch()
    jobs_dir = folder / "jobs.d"
    jobs_dir.mkdir()
    for first in range(0, jobs, JOBS_PER_FILE):
        text = "defaults:\n  retention: {history: 30d}\njobs:\n"
        text += "".join(JOB.format(n=n, priority=n % 10) for n in range(first, min(first + JOBS_PER_FILE, jobs)))
        (jobs_dir / f"team-{first:06}.yaml").write_text(text)
