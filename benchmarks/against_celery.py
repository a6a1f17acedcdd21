"""The runner against a stock Celery app, on one server: start-up, submission, latency, memory.

    python -m benchmarks.against_celery

Exits 1 if a ratio is over its limit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import runner
from benchmarks.pairs import Pair, measure, show

CONCURRENCY = 4
SUBMIT_LIMIT = 0.6
LATENCY_LIMIT = 1.2
PATIENCE = 60.0
"""Seconds that a worker may take to start."""

BIN = Path(sys.executable).parent

SETTINGS = "redis_url: embedded\npython_path: [.]\n"

JOBS = """\
jobs:
  add:
    task: work:add
    params:
      a: {type: integer, required: true}
      b: {type: integer, required: true}
"""

WORK = "def add(a, b):\n    return a + b\n"

STOCK = """\
import os
from celery import Celery

# The settings that the runner has as well: STARTED is written, and only JSON is read.
app = Celery("stock", broker=os.environ["STOCK_URL"], backend=os.environ["STOCK_URL"])
app.conf.update(task_default_queue="stock", task_track_started=True, task_acks_late=True, accept_content=["json"])

@app.task(name="add")
def add(a, b):
    return a + b
"""


def main() -> int:
    """Measure everything; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        project = Path(name)
        (project / "jobs.d").mkdir()
        for path, text in {
            "runner.yaml": SETTINGS,
            "jobs.d/jobs.yaml": JOBS,
            "work.py": WORK,
            "stock.py": STOCK,
        }.items():
            (project / path).write_text(text)
        try:
            pairs = _measure(project)
        finally:
            command(project, "runner", "down")
    print(f"medians of rounds in turn; workers with -c {CONCURRENCY}; Python {sys.version.split()[0]}\n")
    return 0 if show(pairs) else 1


def _measure(project: Path) -> list[Pair]:
    from runner.ledger.connection import kombu_url, resolve_url
    from runner.settings import load_settings

    os.environ["STOCK_URL"] = kombu_url(resolve_url(load_settings(project)))
    pairs = [
        measure(
            "--help",
            lambda: command(project, "runner", "--help"),
            lambda: command(project, "celery", "--help"),
            rounds=10,
        ),
        measure(
            "submit a run (celery call)",
            lambda: command(project, "runner", "submit", "add", "-p", "a=1", "-p", "b=2", "--queue", "nobody"),
            lambda: command(
                project, "celery", "-A", "stock", "call", "add", "--kwargs", '{"a": 1, "b": 2}', "--queue", "nobody"
            ),
            rounds=15,
            limit=SUBMIT_LIMIT,
        ),
    ]
    ours = [str(BIN / "runner"), "worker", "-c", str(CONCURRENCY)]
    theirs = [str(BIN / "celery"), "-A", "stock", "worker", "-c", str(CONCURRENCY), "-l", "INFO", "--without-mingle"]
    with worker(project, ours, "runner worker ready") as our_pid, worker(project, theirs, " ready.") as their_pid:
        sys.path.insert(0, str(project))
        import stock  # type: ignore[import-not-found]

        def submit() -> None:
            run = runner.submit("add", {"a": 1, "b": 2}, project=project).wait(timeout=PATIENCE)
            assert run.result == 3

        def delay() -> None:
            assert stock.add.delay(1, 2).get(timeout=PATIENCE) == 3

        pairs.append(
            measure("submit to SUCCESS, one process (delay().get())", submit, delay, rounds=200, limit=LATENCY_LIMIT)
        )
        mebibyte = 1024.0
        sizes = proportional_kib(our_pid) / mebibyte, proportional_kib(their_pid) / mebibyte
        if all(sizes):
            pairs.append(Pair("idle worker, PSS of all its processes", *sizes, "MiB"))
    return pairs


def command(project: Path, program: str, *words: str) -> None:
    """Run a command in the project."""
    subprocess.run(
        [str(BIN / program), *words], cwd=project, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )


@contextmanager
def worker(project: Path, words: list[str], ready: str) -> Iterator[int]:
    """Run a worker in a session of its own; it consumes when the ``with`` begins."""
    process = subprocess.Popen(
        words,
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    is_ready = threading.Event()
    said: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if ready in line:
                is_ready.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        if not is_ready.wait(PATIENCE):
            raise RuntimeError(f"{words} did not start:\n{''.join(said)}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end = time.monotonic() + 5.0
        while session(process.pid) and time.monotonic() < end:
            time.sleep(0.02)


def session(leader: int) -> list[int]:
    """Return the processes of a session, where /proc tells."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == leader and words[0] != "Z":
            found.append(int(entry.name))
    return found


def proportional_kib(leader: int) -> float:
    """Return the proportional set size of a session's processes: shared pages count once."""
    total = 0
    for pid in session(leader):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return float(total)


if __name__ == "__main__":
    sys.exit(main())
