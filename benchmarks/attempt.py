"""What an attempt of a job that does nothing costs in the process that performs it, by part.

A child as a worker forks it performs runs of a real queue, one after the other; its parent collects their logs. Each
part is charged with the processor time that no part within it takes, less what measuring it takes.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import secrets
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.pairs import Row, quantile
from benchmarks.place import Place

RUNS = 1500
"""In each of two passes: one for the total, one for the parts."""
WARM_UP = 200
LEASE_MILLISECONDS = 60_000
MOST = 100.0
"""Microseconds beside Celery's tracer and the round trips."""

QUEUE, JOB = "attempts", "none"
_JOBS = f"jobs:\n  {JOB}:\n    task: work:noop\n    queue: {QUEUE}\n"

TRACER, TRIPS = "Celery's tracer", "round trips"


def measure(place: Place) -> list[Row]:
    """Measure in a process of its own, which becomes the parent of the child."""
    file = place.folder / "jobs.d" / "attempts.yaml"
    file.write_text(_JOBS)
    try:
        # The log goes into a file, as a service's.
        with (place.folder / "attempts.log").open("w") as log:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.attempt", str(place.folder)],
                env=place.environment,
                check=True,
                stdout=subprocess.PIPE,
                stderr=log,
            )
    finally:
        file.unlink()
    report: dict[str, Any] = json.loads(done.stdout)
    parts: dict[str, float] = report["parts"]
    beside = sum(parts.values()) - parts[TRACER] - parts[TRIPS]
    rows = [
        Row("an attempt, all of it", report["total"], None, "µs CPU", RUNS),
        Row("an attempt, beside Celery's tracer and round trips", beside, None, "µs CPU", RUNS, None, MOST, "figure"),
    ]
    rows += [Row(f"  {name}", spent, None, "µs CPU", RUNS) for name, spent in parts.items()]
    return [*rows, Row("an attempt, in the worker's parent", report["parent"], None, "µs CPU", RUNS)]


def typical(times: list[float]) -> float:
    """Return the time that a tenth of the runs keeps within: others that use the same core make the rest longer."""
    return quantile(sorted(times), 0.1)


class Stopwatch:
    """Charges processor time of this thread to the innermost part that is being measured."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self._now: defaultdict[str, float] = defaultdict(float)
        self._parts: list[str] = []
        self._since = 0
        self._inside = self._outside = 0.0
        self._calibrate()

    def _calibrate(self) -> None:
        """Find what measuring a call adds to its own part, and to the part around it."""

        def nothing() -> None:
            pass

        def around() -> None:
            for _ in range(RUNS):
                self.call("inside", nothing)

        def loop() -> None:
            for _ in range(RUNS):
                nothing()

        self.call("around", around)
        self.call("loop", loop)
        self._inside = self._now["inside"] / RUNS
        self._outside = (self._now["around"] - self._now["loop"]) / RUNS
        self._now.clear()

    def call(self, part: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``function``, and charge its time to ``part``."""
        self._enter(part)
        try:
            return function(*args, **kwargs)
        finally:
            self._leave()

    def wrap(self, part: str, home: Any, name: str) -> None:
        """Charge each call of an attribute of ``home`` to ``part``."""
        function = getattr(home, name)

        @wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            return self.call(part, function, *args, **kwargs)

        setattr(home, name, measured)

    def wrap_manager(self, part: str, home: Any, name: str) -> None:
        """Charge making, entering, and leaving the context manager that a method returns to ``part``."""
        function = getattr(home, name)

        @wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            return _Manager(self, part, self.call(part, function, *args, **kwargs))

        setattr(home, name, measured)

    def note(self) -> None:
        """End a run: note what each part took."""
        for part, spent in self._now.items():
            self.spent.setdefault(part, []).append(spent / 1000)
        self._now.clear()

    def _enter(self, part: str) -> None:
        now = time.thread_time_ns()
        if self._parts:
            self._now[self._parts[-1]] += now - self._since - self._outside
        self._parts.append(part)
        self._since = time.thread_time_ns()

    def _leave(self) -> None:
        now = time.thread_time_ns()
        self._now[self._parts.pop()] += now - self._since - self._inside
        self._since = time.thread_time_ns()


class _Manager:
    def __init__(self, watch: Stopwatch, part: str, manager: Any) -> None:
        self._watch, self._part, self._manager = watch, part, manager

    def __enter__(self) -> Any:
        return self._watch.call(self._part, self._manager.__enter__)

    def __exit__(self, *error: Any) -> Any:
        return self._watch.call(self._part, self._manager.__exit__, *error)


class Child:
    """The process of a taker, which performs runs."""

    def __init__(self, state: Any, known: str) -> None:
        from runner.attempt.channel import Channel
        from runner.attempt.limits import Limits
        from runner.attempt.taker import Place
        from runner.attempt.taker_process import Inherited, prepare
        from runner.ledger.take import Takes
        from runner.worker.board import Board

        board = Board()
        end, self._other = socket.socketpair()
        self._shared, self._known = state.shared, known
        inherited = Inherited(state.collector.control, state.generators)
        prepare(self._shared, Place(board.head, board.writer(0), Channel(end)), Limits(), inherited)
        self._takes = Takes(self._shared.attempts, _refuse)
        self._last: Any = None
        self.watch = Stopwatch()

    def perform(self, runs: int) -> float:
        """Perform runs; return the processor time of one, in microseconds."""
        from runner.attempt import perform
        from runner.attempt.attempt_report import End
        from runner.attempt.state import Attempt, Settlement
        from runner.ledger.take import Ask, Taken

        spent = []
        for _ in range(runs):
            start = time.thread_time_ns()
            ask = Ask(secrets.token_hex(16), LEASE_MILLISECONDS, self._shared.worker, self._known, (QUEUE,))
            taken = self._takes.take(self._last, ask)
            assert isinstance(taken, Taken), taken
            attempt = Attempt(taken, self._shared, Settlement(may_wait=True))
            task = self._shared.app.job_task(taken.job)
            assert task is not None
            report = perform.perform(task, attempt)
            self._last = attempt.settlement.success
            spent.append((time.thread_time_ns() - start) / 1000)
            self.watch.note()
            assert report.end is End.SUCCEEDED, report
        return typical(spent)

    def watch_parts(self) -> None:
        """Have each part measured from now on."""
        from runner.attempt import perform
        from runner.attempt.backend import AttemptBackend
        from runner.attempt.capture.child import Capture
        from runner.attempt.job_task import JobTask
        from runner.attempt.process_state import ProcessState
        from runner.ledger.ledger import Ledger

        wrap, wrap_manager = self.watch.wrap, self.watch.wrap_manager
        wrap("perform", perform, "perform")
        wrap("before_start", JobTask, "before_start")
        wrap("arguments, masker, params, span, result", JobTask, "run")
        wrap_manager("capture", Capture, "attempt")
        wrap_manager("environment", ProcessState, "attempt")
        wrap_manager("process state", ProcessState, "job")
        wrap("settling", AttemptBackend, "store_result")
        wrap("log lines", logging.Logger, "handle")
        for name in ("script", "confirmed"):
            wrap(TRIPS, Ledger, name)
        task = self._shared.app.tasks[JOB]
        # Anew: a tracer keeps the methods that it was made with.
        task._tracer = None
        _ = task.tracer
        wrap(TRACER, task, "_tracer")


def _refuse(_success: Any, refused: Exception) -> None:
    raise refused


def main(folder: Path) -> None:
    """Be a worker's parent, fork one child, and print what it tells."""
    from celery import signals

    import runner
    from runner.app.factory import create_app
    from runner.app.worker_log import use_text
    from runner.attempt.state import Known
    from runner.catalog.catalog import load_catalog
    from runner.ledger.specs import write_known
    from runner.settings import load_settings
    from runner.worker.start import unique_name

    for _ in range(WARM_UP + 2 * RUNS):
        runner.submit(JOB, project=folder)
    settings = load_settings(folder, environ={})
    app = create_app(settings, load_catalog(settings))
    signals.after_setup_logger.connect(use_text, weak=False)
    signals.after_setup_task_logger.connect(use_text, weak=False)
    # Prepares all that a child inherits; it is never started.
    worker = app.Worker(hostname=unique_name(), pool_cls="prefork", concurrency=1, loglevel="INFO", quiet=True)
    known, ledger = Known.of(app), app.open_ledger()
    write_known(ledger, known.digest, known.jobs)
    ledger.close()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        child = Child(worker.runner_state, known.digest)
        child.perform(WARM_UP)
        total = child.perform(RUNS)
        child.watch_parts()
        child.perform(RUNS)
        parts = {name: typical(spent) for name, spent in child.watch.spent.items()}
        os.write(writing, json.dumps({"total": total, "parts": parts}).encode())
        os._exit(0)
    os.close(writing)
    worker.runner_state.collector.start()
    before = _processor_seconds()
    with os.fdopen(reading) as pipe:
        found = json.load(pipe)
    found["parent"] = (_processor_seconds() - before) / (WARM_UP + 2 * RUNS) * 1e6
    os.waitpid(pid, 0)
    print(json.dumps(found))


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(Path(sys.argv[1]))
