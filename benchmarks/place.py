"""Where it is measured: a project and a stock Celery app in a temporary folder, on one embedded server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import redis

BIN = Path(sys.executable).parent
PATIENCE = 60.0
"""Seconds that a worker may take to start or end, and a run to finish."""

FILES = {
    "runner.yaml": "redis_url: embedded\npython_path: [.]\n",
    "jobs.d/jobs.yaml": """\
jobs:
  add:
    task: work:add
    params:
      a: {type: integer, required: true}
      b: {type: integer, required: true}
  nothing:
    task: work:nothing
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


def nothing():
    return None


def held(gate):
    while not os.path.exists(gate):
        time.sleep(0.1)
""",
    # `stock` is Celery as it comes. `careful` keeps two promises that the runner keeps too: a message is
    # acknowledged after its run, and that a run has started can be seen.
    "stock.py": """\
import os

from celery import Celery


def make(name, **settings):
    app = Celery(name, broker=os.environ["STOCK_URL"], backend=os.environ["STOCK_URL"], set_as_current=False)
    app.conf.update(task_default_queue=name, broker_connection_retry_on_startup=True, **settings)

    @app.task(name="add", shared=False)
    def add(a, b):
        return a + b

    @app.task(name="nothing", shared=False)
    def nothing():
        return None

    return app


stock = make("stock")
late = make("late", task_acks_late=True)
careful = make("careful", task_acks_late=True, task_track_started=True)
""",
}


@dataclass(frozen=True)
class Place:
    """The folder, and the server that everything in it talks to."""

    folder: Path
    client: redis.Redis
    environment: dict[str, str]

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
        """Return the words that start a worker of a Celery app of stock.py."""
        return [str(BIN / "celery"), "-A", f"stock:{app}", "worker", "-c", str(concurrency), "-l", "INFO", "-n", app]

    @contextmanager
    def worker(self, words: Sequence[str]) -> Iterator[int]:
        """Run a worker; it consumes when the ``with`` begins, and is gone with all its children after it."""
        # Into a file, as a service's log: whoever read a pipe would take time from what is measured.
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
            family = {process.pid}
            try:
                _wait_until_ready(process, log)
                yield process.pid
            finally:
                family |= tree(process.pid)
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                _end(family - {process.pid})

    @contextmanager
    def web(self) -> Iterator[tuple[str, int]]:
        """Run ``runner web``; yield its URL and its process id."""
        process = subprocess.Popen(
            [str(BIN / "runner"), "web", "--port", "0"],
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
def place() -> Iterator[Place]:
    """Make the folder, start its server; remove and stop both afterwards."""
    from runner.embedded import stop
    from runner.ledger.connection import connect, kombu_url, resolve_url
    from runner.settings import load_settings

    # A short path: that of a socket has 107 bytes.
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        (folder / "jobs.d").mkdir()
        for path, text in FILES.items():
            (folder / path).write_text(text)
        settings = load_settings(folder, environ={})
        try:
            os.environ["STOCK_URL"] = kombu_url(resolve_url(settings))
            client = connect(settings)
            yield Place(folder, client, _environment(folder))
            client.close()
        finally:
            stop(settings)


def _wait_until_ready(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        said = os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")
        # Celery says "NAME ready.", the runner "runner worker ready".
        if re.search(r" ready\.$|runner worker ready", said, re.MULTILINE):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{process.args!r} did not start:\n{said}")
        time.sleep(0.02)


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of what is measured: without settings of ours, and with bytecode in ``folder``.

    Whether the checkout's own bytecode is there and fresh makes no difference then; the round that warms up
    writes it for both.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "CELERY_"))}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**own, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def tree(root: int) -> set[int]:
    """Return a process and its descendants, those in sessions of their own too: supervisors are."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if words[0] != "Z":
            children.setdefault(int(words[1]), []).append(int(entry.name))
    found, left = {root}, [root]
    while left:
        left = [child for parent in left for child in children.get(parent, []) if child not in found]
        found.update(left)
    return found


def _end(pids: set[int]) -> None:
    """Wait until processes have ended, and end those that have not within five seconds."""
    end = time.monotonic() + 5.0
    while pids and time.monotonic() < end:
        pids = {pid for pid in pids if Path(f"/proc/{pid}").exists()}
        time.sleep(0.02)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
