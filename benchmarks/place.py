"""The place of a measurement: a project in a temporary folder, and a server that it shares with all peers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import redis

from benchmarks.peers import DATABASES
from benchmarks.processes import end, tree
from benchmarks.server import serving

BIN = Path(sys.executable).parent
PATIENCE = 60.0
"""Seconds that a worker may take to start or end, and a run to finish."""
STARTED_AT_ONCE = 5
"""Workers that start together: more of them would only wait for a processor."""

FILES = {
    "jobs.d/jobs.yaml": """\
jobs:
  add:
    task: work:add
    params:
      a: {type: integer, required: true}
      b: {type: integer, required: true}
  noop:
    task: work:noop
    queue: bulk
  untidy:
    task: work:untidy
    queue: bulk
  nap:
    task: work:nap
    queue: bulk
  held:
    task: work:held
    queue: bulk
    params: {gate: {type: string, required: true}}
  chat:
    task: chatter:chat
    queue: bulk
    params: {lines: {type: integer, required: true}, to_file: {type: boolean, required: true}}
""",
    "chatter.py": """\
import logging
import tempfile
import time


def chat(lines, to_file):
    logger = logging.getLogger("chatter")
    logger.setLevel(logging.INFO)
    with tempfile.NamedTemporaryFile("w") as file:
        if to_file:
            handler = logging.StreamHandler(file)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(handler)
            logger.propagate = False
        try:
            start = time.perf_counter()
            for number in range(lines):
                logger.info("line %d of a job that has much to say", number)
            return time.perf_counter() - start
        finally:
            if to_file:
                logger.removeHandler(handler)
                logger.propagate = True
""",
    "work.py": """\
import os
import time


def add(a, b):
    return a + b


def noop():
    return 1


def say():
    print("a line")
    return 1


def nap():
    time.sleep(0.02)


def untidy():
    os.chdir("/")
    os.umask(0)
    os.environ["LEFT"] = "1"


def held(gate):
    while not os.path.exists(gate):
        time.sleep(0.1)
""",
}


@dataclass(frozen=True)
class Place:
    """The folder, and the server that everything in it talks to.

    ``quick`` asks for few rounds and runs: whether a measurement works is seen then, and no figure is worth much.
    """

    folder: Path
    client: redis.Redis
    environment: dict[str, str]
    quick: bool = False

    def some(self, full: int, quick: int) -> int:
        """Return a number of rounds, runs, or workers."""
        return quick if self.quick else full

    def command(self, program: str, *words: str) -> None:
        """Run a command to its end; it must succeed."""
        subprocess.run(
            [program if "/" in program else str(BIN / program), *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )

    def our_worker(self, concurrency: int, queue: str = "default", pool: str = "prefork") -> list[str]:
        """Return the words that start a worker of the runner."""
        return [str(BIN / "runner"), "worker", "-c", str(concurrency), "-Q", queue, "--pool", pool]

    def celery_worker(self, app: str, concurrency: int) -> list[str]:
        """Return the words that start a worker of a Celery app of peers/with_celery.py."""
        module = f"benchmarks.peers.with_celery:{app}"
        return [str(BIN / "celery"), "-A", module, "worker", "-c", str(concurrency), "-l", "WARNING", "-n", app]

    @contextmanager
    def worker(self, words: Sequence[str], *, wait: bool = True) -> Iterator[int]:
        """Run a worker, which is gone with all its children after the ``with``; yield its process id.

        ``wait`` until it says that it is ready.
        """
        with self.workers(words, 1, wait=wait) as [pid]:
            yield pid

    @contextmanager
    def workers(self, words: Sequence[str], count: int, *, wait: bool = True) -> Iterator[list[int]]:
        """Run ``count`` workers at once, as above."""
        with ExitStack() as stack:
            # Into a file, as a service's log: whoever read a pipe would take time from what is measured.
            logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
            started: list[subprocess.Popen[bytes]] = []
            try:
                for first in range(0, count, STARTED_AT_ONCE):
                    some = [self._start(words, log) for log in logs[first : first + STARTED_AT_ONCE]]
                    started += some
                    for process, log in zip(some, logs[first:], strict=False):
                        if wait:
                            _wait_until_ready(process, log)
                yield [process.pid for process in started]
            finally:
                _stop(started)

    def _start(self, words: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )

    @contextmanager
    def web(self) -> Iterator[tuple[str, int]]:
        """Run ``runner web``; yield its URL and its process id."""
        process = subprocess.Popen(
            [str(BIN / "runner"), "web", "--port", "0", "--no-token"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            found = next(
                (found for line in process.stderr if (found := re.search(r"ready: (http://\S+)/", line))), None
            )
            if found is None:
                raise RuntimeError("runner web did not start")
            yield found[1], process.pid
        finally:
            process.terminate()
            process.wait(PATIENCE)


@contextmanager
def place(*, quick: bool = False, embedded: bool = False) -> Iterator[Place]:
    """Make the folder, start a server; remove and stop both afterwards.

    The server is one on TCP that writes no file, unless ``embedded`` asks for the project's own.
    """
    from runner.embedded import stop
    from runner.ledger.connection import connect
    from runner.settings import load_settings

    # A short path: that of a socket has 107 bytes.
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name, ExitStack() as stack:
        folder = Path(name).resolve()
        (folder / "jobs.d").mkdir()
        for path, text in FILES.items():
            (folder / path).write_text(text)
        if embedded:
            url = "embedded"
        else:
            os.environ["BENCH_SERVER"] = stack.enter_context(serving(folder))
            url = f"{os.environ['BENCH_SERVER']}/{DATABASES['runner']}"
        (folder / "runner.yaml").write_text(f"redis_url: {url}\npython_path: [.]\n")
        settings = load_settings(folder, environ={})
        try:
            client = connect(settings)
            yield Place(folder, client, _environment(folder), quick)
            client.close()
        finally:
            if embedded:
                stop(settings)


def _wait_until_ready(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        output = os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")
        if re.search(r"\bready\b", output):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start:\n{output}")
        time.sleep(0.02)


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """End workers, and what they leave behind."""
    families = {process.pid: tree(process.pid) for process in workers}
    for process in workers:
        process.send_signal(signal.SIGTERM)
    left: set[int] = set()
    for process in workers:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        left |= families[process.pid] - {process.pid}
    end(left)


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of what is measured: without settings of ours, and with bytecode in ``folder``.

    Whether the checkout's own bytecode is there and fresh makes no difference then; the round that warms up
    writes it for both.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "CELERY_"))}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    # Peers import their tasks from this checkout.
    return {**own, "PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTHONPATH": str(Path(__file__).parents[1])}
