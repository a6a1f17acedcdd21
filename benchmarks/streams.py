"""Two hundred browsers that follow everything, while a hundred runs come and go: how late they hear, what it takes."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from pathlib import Path

import httpx

import runner
from benchmarks.pairs import Row, quantile
from benchmarks.place import BIN, PATIENCE, Place

BROWSERS = 200
RUNS = 100
PAUSE = 0.1
"""Seconds between two submissions: thirty events a second, for each browser."""
MOST_LATE = 1.0
MOST_MEBIBYTES = 150.0


def measure(place: Place) -> list[Row]:
    """Compare when the ledger says that something happened with when each browser heard of it."""
    web = subprocess.Popen(
        [str(BIN / "runner"), "web", "--port", "0"],
        cwd=place.folder,
        env=place.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert web.stderr is not None
        url = next(found[1] for line in web.stderr if (found := re.search(r"ready: (http://\S+)/", line)))
        with place.worker(place.our_worker(4, "bulk")):
            late, heard = asyncio.run(_listen(place, url))
        size = _resident_mebibytes(web.pid)
    finally:
        web.terminate()
        web.wait(PATIENCE)
    assert heard == BROWSERS * RUNS * 3, f"{heard} events were heard"
    name = f"{BROWSERS} event streams, {RUNS} runs"
    return [
        Row(f"{name}, p99 of lateness", quantile(late, 0.99), None, "s", 1, most=MOST_LATE, bounds="figure"),
        Row(f"{name}, latest", late[-1], None, "s", 1, most=MOST_LATE, bounds="figure"),
        Row(f"{name}, resident memory", size, None, "MiB", 1, most=MOST_MEBIBYTES, bounds="figure"),
    ]


async def _listen(place: Place, url: str) -> tuple[list[float], int]:
    late: list[float] = []
    ready = asyncio.Semaphore(0)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:

        async def follow() -> None:
            left = RUNS * 3
            async with client.stream("GET", "/api/v1/events", params={"job": "nothing"}) as response:
                async for line in response.aiter_lines():
                    if line.startswith("retry"):
                        ready.release()
                    elif line.startswith("id: "):
                        late.append(time.time() - int(line[4:].partition("-")[0]) / 1000)
                    elif line.startswith("data: "):
                        json.loads(line[6:])
                        left -= 1
                        if not left:
                            return

        browsers = [asyncio.create_task(follow()) for _ in range(BROWSERS)]
        for _ in browsers:
            await ready.acquire()
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
