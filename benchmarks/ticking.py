"""A tick over 10,000 scheduled jobs, 100 of them due; and what a scheduler over them takes at rest."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.loading import JOB, JOBS_PER_FILE
from benchmarks.pairs import Row
from benchmarks.peers import url_of
from benchmarks.place import BIN, Place

JOBS = 10_000
DUE = 100
ROUNDS = 7
MOST_SECONDS = 2.0
MOST_SHARE = 1.0
REST_SECONDS = 30
SETTLE_SECONDS = 10.0


def write_scheduled_project(folder: Path, namespace: str) -> None:
    """Write jobs of which DUE have a slot each second, and the others one a year hence."""
    (folder / "jobs.d").mkdir()
    (folder / "runner.yaml").write_text(f"redis_url: env:BENCH_URL\nnamespace: {namespace}\n")
    far = time.gmtime(time.time() + 300 * 86400)
    for first in range(0, JOBS, JOBS_PER_FILE):
        text = "jobs:\n"
        for n in range(first, first + JOBS_PER_FILE):
            when = "every: 1s" if n < DUE else f'cron: "{n % 60} {n // 60 % 24} {far.tm_mday} {far.tm_mon} *"'
            text += JOB.format(n=n, priority=n % 10).replace("required: true", 'default: "2026-01-01"')
            text += f"    schedule: {{{when}, timezone: Europe/Berlin}}\n"
        (folder / "jobs.d" / f"team-{first:06}.yaml").write_text(text)


def measure(place: Place) -> list[Row]:
    """Time whole processes; count the processor time of a scheduler."""
    rounds, seconds = place.some(ROUNDS, 1), place.some(REST_SECONDS, 1)
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        write_scheduled_project(folder, "bench-tick")
        environment = {**place.environment, "BENCH_URL": url_of("other")}
        # Files as young as this are not cached, since a second change could go unnoticed.
        time.sleep(0.3)

        def tick(due: int = DUE) -> float:
            time.sleep(1.1)  # until each of the DUE jobs has a slot
            start = time.perf_counter()
            done = subprocess.run(
                [str(BIN / "runner"), "tick", "--json"],
                cwd=folder,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            taken = time.perf_counter() - start
            assert done.stdout.count('"slot"') == due, done.stdout[:200]
            return taken

        tick(0)  # sees the schedules for the first time
        tick()
        times = [tick() for _ in range(rounds)]
        floor = statistics.median(_seconds([sys.executable, "-c", "pass"]) for _ in range(rounds))
        for file in (folder / "jobs.d").iterdir():
            file.write_text(file.read_text().replace("every: 1s", "every: 300d"))
        time.sleep(0.3)
        share = _share_at_rest(folder, environment, seconds)
        shutil.rmtree(folder / ".runner", ignore_errors=True)
    return [
        Row(
            f"tick, {JOBS:,} scheduled jobs, {DUE} due : python -c pass",
            statistics.median(times),
            floor,
            "s",
            rounds,
            most=MOST_SECONDS,
            bounds="figure",
        ),
        Row(
            f"scheduler at rest, {JOBS:,} jobs, share of a core", share, None, "%", 1, most=MOST_SHARE, bounds="figure"
        ),
    ]


def _seconds(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(words, check=True)
    return time.perf_counter() - start


def _share_at_rest(folder: Path, environment: dict[str, str], seconds: int) -> float:
    process = subprocess.Popen(
        [str(BIN / "runner"), "scheduler"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready" in line:
                break
        time.sleep(min(SETTLE_SECONDS, seconds))
        before, start = _processor_seconds(process.pid), time.monotonic()
        time.sleep(seconds)
        return 100 * (_processor_seconds(process.pid) - before) / (time.monotonic() - start)
    finally:
        process.terminate()
        process.wait(20)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
