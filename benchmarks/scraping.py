"""What a scrape of the metrics takes: 1,000 jobs with a schedule and a dead-man's switch, 100,000 runs."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from redis.connection import AbstractConnection

from benchmarks.million import Copies
from benchmarks.pairs import Row
from benchmarks.peers import url_of
from benchmarks.place import Place
from runner.actions.metrics import exposition
from runner.actions.project import Project
from runner.ledger.ledger import Ledger
from runner.ledger.metrics import BUCKETS
from runner.settings import load_settings

JOBS = 1_000
RUNS = 100_000
ROUNDS = 7
MOST_ROUND_TRIPS = 15
MOST_SECONDS = 1.0
MOST_SERVER_SECONDS = 0.02


def measure(place: Place) -> list[Row]:
    """Time scrapes, as `runner web` answers them; count what is sent to Redis."""
    rounds, runs = place.some(ROUNDS, 1), place.some(RUNS, 1000)
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        (folder / "jobs.d").mkdir()
        (folder / "runner.yaml").write_text("redis_url: env:BENCH_URL\nnamespace: bench-scrape\n")
        lines = (
            f"  job-{n}: {{task: 'w:w', alert_if_no_success: 26h, schedule: '{n % 60} {n // 60 % 24} * * *'}}\n"
            for n in range(JOBS)
        )
        (folder / "jobs.d" / "many.yaml").write_text("jobs:\n" + "".join(lines))
        project = Project(load_settings(folder, environ={"BENCH_URL": url_of("other")}))
        Copies(project.ledger, round(time.time() * 1000)).fill(runs, 0, JOBS)
        _count(project.ledger)
        try:
            exposition(project)
            sent, took, server = zip(*(_scrape(project) for _ in range(rounds)), strict=True)
            lines_told = exposition(project).count("\n")
        finally:
            _remove(project.ledger)
            project.ledger.close()
    what = f"scrape, {JOBS:,} jobs, {runs:,} runs"
    return [
        Row(f"{what}, {lines_told:,} lines: processor time", statistics.median(took) * 1000, None, "ms", rounds,
            most=MOST_SECONDS * 1000, bounds="figure"),
        Row(f"{what}: Redis' own time", statistics.median(server) * 1000, None, "ms", rounds,
            most=MOST_SERVER_SECONDS * 1000, bounds="figure"),
        Row(f"{what}: round trips", max(sent), None, "", rounds, most=MOST_ROUND_TRIPS, bounds="figure"),
    ]  # fmt: skip


def _scrape(project: Project) -> tuple[int, float, float]:
    """Return the number of commands sent to Redis, the CPU seconds, and the CPU seconds of Redis."""
    sent = 0
    connection: Any = AbstractConnection
    send = connection.send_packed_command

    def counted(self: Any, command: Any, check_health: bool = True) -> None:
        nonlocal sent
        sent += 1
        send(self, command, check_health)

    client: Any = project.ledger.client
    client.config_resetstat()
    connection.send_packed_command = counted
    try:
        start = time.process_time()
        exposition(project)
        took = time.process_time() - start
    finally:
        connection.send_packed_command = send
    stats = client.info("commandstats")
    # What a script calls is counted within the script, too.
    return sent, took, sum(entry["usec"] for name, entry in stats.items() if name != "cmdstat_config|resetstat") / 1e6


def _count(ledger: Ledger) -> None:
    """Write counts as scripts would have kept them, each job having met four buckets of each histogram."""
    now = round(time.time() * 1000)
    counts: dict[Any, Any] = {}
    for number in range(JOBS):
        job = f"job-{number}"
        for what in (f"runs {job} SUCCESS ", f"runs {job} FAILURE exception", f"submissions {job} schedule"):
            counts[what] = number + 1
        for what in ("waited", "ran"):
            counts |= {f"{what} {job} {edge}": number + 1 for edge in (*BUCKETS[:4], "sum")}
    with ledger.client.pipeline() as pipe:
        pipe.hset(f"{ledger.namespace}:metrics", mapping=counts)
        pipe.hset(f"{ledger.namespace}:succeeded", mapping={f"job-{number}": now for number in range(JOBS)})
        pipe.execute()


def _remove(ledger: Ledger) -> None:
    """Take away what would be measured with what comes after."""
    keys: list[str] = list(ledger.client.scan_iter(f"{ledger.namespace}:*", count=1000))
    for first in range(0, len(keys), 1000):
        ledger.client.unlink(*keys[first : first + 1000])
