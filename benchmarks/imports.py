"""``runner validate --imports`` over 1,000 jobs in 50 modules on 2 processors, beside ``runner validate``."""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.pairs import Row, in_turn
from benchmarks.place import Place

JOBS = 1_000
MODULES = 50
PROCESSORS = 2
MOST_SECONDS = 10.0
ROUNDS = 5

FUNCTION = """

def job_{n}(day: str, region: str = "eu", limit: int | None = None) -> dict:
    \"\"\"Report number {n}.\"\"\"
    return {{"day": day, "region": region, "limit": limit}}
"""
JOB = """\
  job-{n}:
    task: module_{module}:job_{n}
    kwargs: {{region: us}}
    params:
      day: {{type: string, format: date, required: true}}
      limit: {{type: integer, minimum: 1, default: 100}}
    retry: {{max_retries: 3, for: [ConnectionError, module_{module}.Late]}}
"""
# What a module of somebody's project imports, more or less.
HEAD = "import asyncio, csv, email.message, http.client, json, logging, sqlite3\n\n\nclass Late(Exception): ...\n"


def measure(place: Place) -> list[Row]:
    """Compare checking with and without imports; on as many processors as the promise says."""
    rounds = place.some(ROUNDS, 1)
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        write_project(folder)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, set(sorted(before)[:PROCESSORS]))
        try:
            times = in_turn(
                {
                    "imports": lambda: place.command("runner", "validate", "--imports", "--project", str(folder)),
                    "plain": lambda: place.command("runner", "validate", "--project", str(folder)),
                },
                rounds,
            )
        finally:
            os.sched_setaffinity(0, before)
    imports, plain = (statistics.median(times[name]) for name in ("imports", "plain"))
    what = f"validate --imports : validate, {JOBS:,} jobs"
    return [Row(what, imports, plain, "s", rounds, None, MOST_SECONDS, "figure")]


def write_project(folder: Path) -> None:
    """Write the jobs, twenty to a file, and their modules."""
    (folder / "jobs.d").mkdir()
    (folder / "runner.yaml").write_text("redis_url: embedded\npython_path: [.]\n")
    jobs_per_module = JOBS // MODULES
    for module in range(MODULES):
        numbers = range(module * jobs_per_module, (module + 1) * jobs_per_module)
        (folder / f"module_{module}.py").write_text(HEAD + "".join(FUNCTION.format(n=n) for n in numbers))
        text = "jobs:\n" + "".join(JOB.format(n=n, module=module) for n in numbers)
        (folder / "jobs.d" / f"team-{module:02}.yaml").write_text(text)
