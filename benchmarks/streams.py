"""Two hundred browsers that follow a job of which a hundred runs come and go, while a hundred others run: how late they
hear, and what it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import runner
from benchmarks.pairs import Row, quantile
from benchmarks.place import PATIENCE, Place

BROWSERS = 200
RUNNING = 100
RUNS = 100
PAUSE = 0.1
"""Seconds between two submissions: thirty events a second, for each browser."""
MOST_LATE = 1.0
MOST_MEBIBYTES = 150.0


def measure(place: Place) -> list[Row]:
    """Compare when the ledger says that something happened with when each browser heard of it."""
    gate = place.folder / "gate"
    with place.web() as (url, pid), _running(place, gate):
        with place.worker(place.our_worker(4, "bulk")):
            late, heard = asyncio.run(_listen(place, url))
        size = _resident_mebibytes(pid)
    assert heard == BROWSERS * RUNS * 3, f"{heard} events were heard"
    name = f"{BROWSERS} event streams, {RUNNING} jobs run"
    return [
        Row(f"{name}, p99 of lateness", quantile(late, 0.99), None, "s", 1, most=MOST_LATE, bounds="figure"),
        Row(f"{name}, latest", late[-1], None, "s", 1, most=MOST_LATE, bounds="figure"),
        Row(f"{name}, resident memory", size, None, "MiB", 1, most=MOST_MEBIBYTES, bounds="figure"),
    ]


@contextmanager
def _running(place: Place, gate: Path) -> Iterator[None]:
    """Have so many jobs run at once, until ``gate`` is there."""
    with place.worker([*place.our_worker(RUNNING, "slow"), "-P", "threads"]):
        runs = [runner.submit("linger", {"until": str(gate)}, project=place.folder) for _ in range(RUNNING)]
        end = time.monotonic() + PATIENCE
        while any(runner.get_run(run.id, project=place.folder).state != "STARTED" for run in runs):
            if time.monotonic() > end:
                raise RuntimeError("the jobs did not start")
            time.sleep(0.2)
        try:
            yield
        finally:
            gate.touch()


async def _listen(place: Place, url: str) -> tuple[list[float], int]:
    """Follow the job as many browsers; return how late each event came to each, and how many came."""
    late: list[float] = []
    ready = asyncio.Semaphore(0)
    address = urlsplit(url)
    request = f"GET /api/v1/events?job=nothing HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()

    async def follow() -> None:
        # Read by hand: a client that takes more time than the server would be what is measured.
        left = RUNS * 3
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request)
        while left:
            line = await reader.readline()
            assert line, "the stream has ended"
            if line.startswith(b"retry"):
                ready.release()
            elif line.startswith(b"id: "):
                late.append(time.time() - int(line[4:].partition(b"-")[0]) / 1000)
            elif line.startswith(b"data: "):
                left -= 1
        writer.close()

    browsers = [asyncio.create_task(follow()) for _ in range(BROWSERS)]
    for _ in browsers:
        await asyncio.wait_for(ready.acquire(), PATIENCE)
    await asyncio.to_thread(_submit, place.folder)
    await asyncio.wait_for(asyncio.gather(*browsers), PATIENCE)
    return sorted(late), len(late)


def _submit(folder: Path) -> None:
    for _ in range(RUNS):
        runner.submit("nothing", project=folder)
        time.sleep(PAUSE)


def _resident_mebibytes(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
