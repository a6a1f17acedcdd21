"""Two hundred browsers that follow everything, and a hundred logs of runs that run: how late they hear, what it takes.

The runs begin one after the other, run all at once, each writing a line a second, and end one after the other.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import runner
from benchmarks.pairs import Row, quantile
from benchmarks.place import PATIENCE, Place
from runner.ledger.ledger import Ledger
from runner.ledger.run_log import RunLog
from runner.settings import load_settings

BROWSERS = 200
RUNS = 100
PAUSE = 0.1
"""Seconds between two submissions: twenty events a second, for each browser."""
RUNNING = 10
"""Seconds that all of them run together."""
MOST_LATE = 1.0
MOST_MEBIBYTES = 150.0


def measure(place: Place) -> list[Row]:
    """Compare when the ledger says that something happened with when each browser heard of it."""
    browsers, runs = place.some(BROWSERS, 5), place.some(RUNS, 5)
    # A process for each stream would cost more than the figure that is measured.
    with place.web() as (url, pid), place.worker(place.our_worker(runs, "bulk", "threads")):
        begin, spent = time.monotonic(), _cpu_seconds(pid)
        late, lines = asyncio.run(_listen(place, url, browsers, runs))
        busy = (_cpu_seconds(pid) - spent) / (time.monotonic() - begin)
        size = _peak_mebibytes(pid)
    events, logs = f"{browsers} event streams, {runs} jobs run", f"{runs} logs followed beside"
    return [
        Row(f"{events}: p99 of lateness", quantile(late, 0.99), None, "s", 1, most=MOST_LATE, bounds="figure"),
        Row(f"{events}: latest", late[-1], None, "s", 1, most=MOST_LATE, bounds="figure"),
        Row(f"{logs}: p99 of lateness", quantile(lines, 0.99), None, "s", 1),
        Row("meanwhile, the web takes", busy, None, "CPUs", 1),
        Row("meanwhile, its memory at most", size, None, "MiB", 1, most=MOST_MEBIBYTES, bounds="figure"),
    ]


async def _listen(place: Place, url: str, browsers: int, runs: int) -> tuple[list[float], list[float]]:
    """Return the delays of events and lines in seconds, sorted."""
    late: list[float] = []
    lines: list[float] = []
    ready = asyncio.Semaphore(0)
    gates = [place.folder / f"gate-{number}" for number in range(runs)]

    async def follow() -> None:
        left = runs * 3

        def hear(_: str, data: Any) -> bool:
            nonlocal left
            late.append(time.time() - _seconds(data["at"]))
            left -= 1
            return left == 0

        await _read(url, "/api/v1/events?job=held", ready, hear)

    def read_lines(kind: str, data: Any) -> bool:
        if kind == "lines":
            lines.extend(time.time() - _seconds(line["at"]) for line in data)
        return kind == "end"

    following = [asyncio.create_task(follow()) for _ in range(browsers)]
    for _ in following:
        await ready.acquire()
    ids = await asyncio.to_thread(_submit, place.folder, gates)
    logs = [asyncio.create_task(_read(url, f"/api/v1/runs/{run_id}/log/stream", ready, read_lines)) for run_id in ids]
    for _ in logs:
        await ready.acquire()
    await asyncio.to_thread(_write, place.folder, ids, place.some(RUNNING, 2))
    await asyncio.to_thread(_open, gates)
    await asyncio.wait_for(asyncio.gather(*following, *logs), PATIENCE)
    assert len(late) == browsers * runs * 3, f"{len(late)} events were heard"
    return sorted(late), sorted(lines)


async def _read(url: str, path: str, ready: asyncio.Semaphore, hear: Callable[[str, Any], bool]) -> None:
    """Follow a stream until ``hear`` says that it is enough."""
    # Read by hand: a client that takes more time than the server would be what is measured.
    address, kind = urlsplit(url), b""
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        while line := await reader.readline():
            if line == b"\r\n" and not kind:
                kind = b"begun"
                ready.release()
            elif line.startswith(b"event: "):
                kind = line[7:].rstrip()
            elif line.startswith(b"data: ") and hear(kind.decode(), json.loads(line[6:])):
                return
        raise RuntimeError(f"{path} has ended")
    finally:
        writer.close()


def _submit(folder: Path, gates: list[Path]) -> list[str]:
    ids = []
    for gate in gates:
        ids.append(runner.submit("held", {"gate": str(gate)}, project=folder).id)
        time.sleep(PAUSE)
    return ids


def _open(gates: list[Path]) -> None:
    for gate in gates:
        gate.touch()
        time.sleep(PAUSE)


def _write(folder: Path, ids: list[str], seconds: int) -> None:
    """Write a line a second into each log, as the process of a run does; runs in threads of one process have none."""
    ledger = Ledger.open(load_settings(folder, environ={}))
    logs = [RunLog(ledger, run_id) for run_id in ids]
    for number in range(1, seconds + 1):
        begin = time.monotonic()
        for log in logs:
            log.append(1, number, json.dumps([[round(time.time() * 1000), "INFO", "still here"]]).encode(), [])
        time.sleep(max(0.0, begin + 1.0 - time.monotonic()))
    ledger.close()


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _peak_mebibytes(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
