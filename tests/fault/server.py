"""A redis-server of our own, that can be killed, frozen, starved and started again with its data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import redis

from runner.embedded.program import find_program
from tests.support.deadline import wait_until
from tests.support.processes import end_session
from tests.support.servers import free_port

Fsync = Literal["always", "everysec", "no"]


class RedisServer:
    """redis-server (else the embedded Valkey) on a free port of 127.0.0.1, append-only; use it in a ``with``."""

    def __init__(
        self,
        folder: Path,
        *,
        fsync: Fsync = "always",
        words: tuple[str, ...] = (),
        clock_offset: int = 0,
        before: Sequence[str] = (),
    ) -> None:
        self._before = before
        self._program = shutil.which("redis-server") or str(find_program())
        self.folder = folder
        self._words = words
        self.fsync = fsync
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, **(other_clock(folder, clock_offset) if clock_offset else {})}

    @property
    def url(self) -> str:
        """Where it answers, with no proxy in between."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, timeout: float = 5.0) -> redis.Redis:
        """Return a new client."""
        return redis.Redis.from_url(
            self.url, decode_responses=True, encoding_errors="backslashreplace", socket_timeout=timeout
        )

    def start(self) -> None:
        """Start it, with the data of the last time; return once it answers."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder / "data")]
        words += ["--save", "", "--appendonly", "yes", "--appendfsync", self.fsync, *self._words]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._before, self._program, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
            )
        with self.client(1.0) as client:

            def answers() -> bool:
                assert self._process is not None
                assert self._process.poll() is None, (self.folder / "redis.log").read_text()[-4000:]
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    return False

            wait_until(answers, 60.0, "redis-server answers")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, however it is."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_session(process.pid)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def promote(self) -> None:
        """Make a replica the primary."""
        with self.client() as client:
            client.replicaof("NO", "ONE")

    def follow(self, primary: RedisServer) -> None:
        """Become a replica of another server."""
        with self.client() as client:
            client.replicaof("127.0.0.1", primary.port)

    def offset(self) -> int:
        """Return the offset up to which it has its primary's data."""
        with self.client() as client:
            return int(client.info("replication").get("slave_repl_offset", 0))

    def follows(self) -> bool:
        """Whether it is a replica with all of its primary's data so far."""
        facts = self._replication()
        return facts.get("master_link_status") == "up" and not facts.get("master_sync_in_progress")

    def is_primary(self) -> bool:
        """Whether it takes writes, rather than follow another server."""
        return self._replication().get("role") == "master"

    def _replication(self) -> dict[str, Any]:
        """What it says about replication, or nothing: Sentinel closes all connections of a server that it changes."""
        try:
            with self.client() as client:
                facts: dict[str, Any] = client.info("replication")
                return facts
        except redis.ConnectionError:
            return {}


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
int gettimeofday(struct timeval *tv, void *tz) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int answer = real(tv, tz);
  if (tv) tv->tv_sec += OFFSET;
  return answer;
}
int clock_gettime(clockid_t id, struct timespec *ts) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int answer = real(id, ts);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) ts->tv_sec += OFFSET;
  return answer;
}
"""


def other_clock(folder: Path, seconds: int) -> dict[str, str]:
    """Return the variables that set a program's clock ``seconds`` ahead; none without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-DOFFSET={seconds}", "-o", str(library), str(source), "-ldl"], check=True
    )
    return {"LD_PRELOAD": str(library)}
