"""Loading and checking catalogs, cold and cached, beside a plain ``yaml.load`` of the same files."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from benchmarks.load_jobs import CACHED_FLOOR, COLD_FLOOR, write_project
from benchmarks.pairs import Row, in_turn
from benchmarks.place import Place
from runner.spec.catalog import load_catalog

SIZES = {1_000: 9, 10_000: 3}
"""Number of jobs to rounds."""


def measure(_place: Place) -> list[Row]:
    """Count jobs a second."""
    return [row for jobs, rounds in SIZES.items() for row in _measure(jobs, rounds)]


def _measure(jobs: int, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        write_project(folder, jobs)
        # Files as young as this are not cached, since a second change could go unnoticed.
        time.sleep(0.3)
        settings: Any = SimpleNamespace(project=folder, jobs_dir=(folder / "jobs.d",), defaults={}, file=None)
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
        Row(
            f"load {jobs:,} jobs, {state} : yaml.load",
            speed[state],
            speed["plain"],
            "jobs/s",
            rounds,
            least,
            None,
            "figure",
        )
        for state, least in (("cold", COLD_FLOOR), ("cached", CACHED_FLOOR))
    ]
