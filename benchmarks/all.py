"""The runner beside Celery, huey, dramatiq, and RQ, in pairs in one run, in one table: ``make bench``.

    python -m benchmarks [--all] [--quick] [--check] [NAME …]

The exit code is 0 whatever the figures are; with ``--check`` it is 1 if one is out of its bounds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from importlib.metadata import version

from benchmarks.pairs import Row, show
from benchmarks.place import place
from benchmarks.server import describe

NAMES = (
    "drain",
    "latency",
    "rabbitmq",
    "submission",
    "calls",
    "bulk",
    "size",
    "fleet",
    "memory",
    "isolation",
    "fairness",
)
"""What ``make bench`` prints: the runner beside its peers."""
MORE = (
    "start_up",
    "attempt",
    "flows",
    "growth",
    "loading",
    "imports",
    "ticking",
    "upcoming",
    "reloading",
    "streams",
    "chatter",
    "scraping",
    "dashboard",
    "archive",
    "scale",
)
"""What is measured when it is asked for by name, or with ``--all``."""
PEERS = ("celery", "huey", "dramatiq", "rq")


def main() -> int:
    """Measure, print, return the exit code."""
    names = (*NAMES, *MORE)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help=f"also measure {', '.join(MORE)}")
    parser.add_argument("--quick", action="store_true", help="see whether it works: few rounds, figures worth little")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is out of its bounds")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    # Ended from outside, it still ends the server and the workers that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start = time.monotonic()
    rows: list[Row] = []
    with place(quick=given.quick) as where:
        server = describe(where.client)
        for name in given.names or (names if given.all else NAMES):
            print(f"measuring {name}", file=sys.stderr, flush=True)
            rows += importlib.import_module(f"benchmarks.{name}").measure(where)
    show(rows)
    peers = ", ".join(f"{peer} {version(peer)}" for peer in PEERS)
    print(
        f"\nMedians of rounds in turn, on one {server} over TCP, without fsync; {peers}; "
        f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; "
        f"took {time.monotonic() - start:.0f} s."
    )
    missed = [row.what for row in rows if not row.kept]
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
