"""All measurements, one after the other, in one table: ``make bench``.

    python -m benchmarks [--check] [NAME …]

The exit code is 0 whatever the figures are; with ``--check`` it is 1 if one is out of its bounds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time

import celery

from benchmarks.pairs import Row, show
from benchmarks.place import place

NAMES = (
    "start_up",
    "submission",
    "latency",
    "loading",
    "imports",
    "memory",
    "ticking",
    "throughput",
    "reloading",
    "streams",
    "chatter",
    "scraping",
)


def main() -> int:
    """Measure, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is out of its bounds")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all by default")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    start = time.monotonic()
    rows: list[Row] = []
    with place() as where:
        for name in given.names or NAMES:
            print(f"measuring {name}", file=sys.stderr, flush=True)
            rows += importlib.import_module(f"benchmarks.{name}").measure(where)
    show(rows)
    print(
        f"\nmedians of rounds in turn, on one server; Celery {celery.__version__}, Python {sys.version.split()[0]}, "
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; took {time.monotonic() - start:.0f} s"
    )
    missed = [row.what for row in rows if not row.kept]
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
