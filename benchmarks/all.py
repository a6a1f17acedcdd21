"""All measurements, one after the other: ``make bench``. Exits 1 if a figure misses its limit."""

from __future__ import annotations

import subprocess
import sys

MODULES = ("benchmarks.against_celery", "benchmarks.load_jobs")


def main() -> int:
    """Run each in a process of its own; return the exit code."""
    codes = []
    for module in MODULES:
        print(f"== {module}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", module], check=False).returncode)
        print(flush=True)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
