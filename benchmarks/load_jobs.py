"""How fast a catalog loads: cold and from its cache, against PyYAML's C loader on the same files.

    python benchmarks/load_jobs.py [JOBS …]

The ratio is the time of loading, checking and digesting against the time of yaml.load(CSafeLoader) alone,
both measured in turn in one run. Exits 1 if a figure is below its floor.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import yaml

from runner.spec.catalog import load_catalog

JOBS_PER_FILE = 20
COLD_FLOOR = 4_000
CACHED_FLOOR = 50_000

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


def write_project(folder: Path, jobs: int) -> None:
    """Write ``jobs`` realistic jobs, twenty a file."""
    jobs_dir = folder / "jobs.d"
    jobs_dir.mkdir()
    for first in range(0, jobs, JOBS_PER_FILE):
        text = "defaults:\n  retention: {history: 30d}\njobs:\n"
        text += "".join(JOB.format(n=n, priority=n % 10) for n in range(first, min(first + JOBS_PER_FILE, jobs)))
        (jobs_dir / f"team-{first:06}.yaml").write_text(text)


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(jobs: int, repeats: int = 3) -> bool:
    """Print the figures for a catalog of ``jobs``; return whether all floors are reached."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        write_project(folder, jobs)
        # Files as young as this are not cached, since a second change could go unnoticed.
        time.sleep(0.3)
        settings = SimpleNamespace(project=folder, jobs_dir=(folder / "jobs.d",), defaults={}, file=None)
        files = sorted((folder / "jobs.d").iterdir())

        def plain() -> None:
            for file in files:
                yaml.load(file.read_bytes(), yaml.CSafeLoader)

        def cold() -> None:
            assert len(load_catalog(settings, use_cache=False).jobs) == jobs

        def cached() -> None:
            assert len(load_catalog(settings).jobs) == jobs

        first = seconds(cached)  # fills the cache
        pairs = [(seconds(plain), seconds(cold), seconds(cached)) for _ in range(repeats)]
    plain_time, cold_time, cached_time = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{jobs:>7,} jobs in {len(files):,} files")
    print(f"  yaml.load(CSafeLoader)  {jobs / plain_time:>10,.0f} jobs/s")
    print(f"  cold                    {jobs / cold_time:>10,.0f} jobs/s   {cold_time / plain_time:.2f} times its time")
    print(f"  cold, writing the cache {jobs / first:>10,.0f} jobs/s   {first / plain_time:.2f} times its time")
    ratio = cached_time / plain_time
    print(f"  cached                  {jobs / cached_time:>10,.0f} jobs/s   {ratio:.4f} times its time")
    return bool(jobs / cold_time >= COLD_FLOOR and jobs / cached_time >= CACHED_FLOOR)


def main() -> int:
    sizes = [int(word) for word in sys.argv[1:]] or [1_000, 10_000]
    reached = [measure(size) for size in sizes]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
