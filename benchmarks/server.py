"""A Redis for the time of a measurement: on TCP, and without a file, so that nobody waits for a disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

PATIENCE = 20.0


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run ``redis-server``, or the embedded server's program where there is none; yield its URL without a database."""
    from runner.embedded.program import find_program

    program = shutil.which("redis-server") or str(find_program())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen(
        [program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        url = f"redis://127.0.0.1:{port}"
        _wait_until_it_answers(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


def describe(client: redis.Redis) -> str:
    """Return the server's name and version."""
    info = client.info("server")
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{process.args!r} did not start") from None
                time.sleep(0.02)
            else:
                return
