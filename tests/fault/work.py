"""What the attacked runs do: leave lines with an outside witness, and nothing else.

Copied into the project under test, and imported by its workers. Each line is one ``write`` to a file
opened with O_APPEND, so that lines of many processes neither mix nor get lost, whatever dies.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def note(witness: str, run_id: str, attempt: int, event: str) -> None:
    """Append a line: id, attempt, pid, parent's pid, event, seconds of the machine's monotonic clock."""
    line = f"{run_id} {attempt} {os.getpid()} {os.getppid()} {event} {time.monotonic():.6f}\n"
    descriptor = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def perform(witness: str, run_id: str, attempt: int, kind: str, seconds: float) -> str:
    """Be a run: ``good`` ends well, ``again`` fails once with ConnectionError, ``wrong`` fails for good."""
    note(witness, run_id, attempt, "start")
    time.sleep(seconds)
    if kind == "wrong":
        note(witness, run_id, attempt, "wrong")
        raise ValueError("this run always fails")
    if kind == "again":
        mark = Path(f"{witness}.{run_id}")
        if not mark.exists():
            note(witness, run_id, attempt, "again")
            mark.touch()
            raise ConnectionError("this run fails once")
    note(witness, run_id, attempt, "end")
    return run_id


def run(witness: str, kind: str, seconds: float) -> str:
    """Be a run of the runner."""
    from runner import current_run

    current = current_run()
    return perform(witness, str(current.id), current.attempt, kind, seconds)


def canary(witness: str) -> None:
    """Be what must never run."""
    note(witness, "canary", 0, "start")
