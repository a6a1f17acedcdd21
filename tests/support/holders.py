"""Processes that allocate memory on request."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.process.memory import family, process_table

MIB = 1024**2
REPOSITORY = Path(__file__).parents[2]

HOLD = """
import mmap, os, subprocess, sys
def hold(mib):
    held.append(bytearray(b"x") * (mib << 20))
held = []
"""


class Holder:
    """A process that leads a group and allocates memory on request."""

    def __init__(self, code: str = "") -> None:
        loop = "print(flush=True)\nfor line in sys.stdin:\n    exec(line)\n    print(flush=True)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD + code + loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=REPOSITORY,
        )
        self.pid = self.process.pid
        self._read()

    def _read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the holder has ended"

    def do(self, line: str) -> None:
        """Execute one line of code in it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._read()

    def end(self) -> None:
        """End it with all processes that it has started."""
        for pid in family(process_table(), {self.pid}) | {self.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], **{options!r}).stdout.readline()"
SLEEPER = "import time; x = bytearray(b'x') * ({mib} << 20); print(flush=True); time.sleep(600)"


def child(mib: int, **options: object) -> str:
    """Return code that starts a child process that allocates memory."""
    return CHILD.format(code=SLEEPER.format(mib=mib), options={"stdout": -1, **options})


@contextmanager
def holders() -> Iterator[Callable[..., Holder]]:
    """Yield a function that starts holders; they end with the test."""
    started: list[Holder] = []

    def start(code: str = "") -> Holder:
        started.append(Holder(code))
        return started[-1]

    try:
        yield start
    finally:
        for holder in started:
            holder.end()
