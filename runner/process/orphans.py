"""Reaps the processes that become children of the worker when their parents die.

In a container the worker is process 1, which the kernel gives all orphans to: a job's background process, or the
supervisor of a taker. Each stays a zombie, and takes a process id, until its new parent asks for its status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

PATIENCE = 1.0
"""Seconds that a zombie is left alone: whoever in this process has started it asks for its status sooner."""

_GET_SUBREAPER = 37  # PR_GET_CHILD_SUBREAPER of Linux
_PROC = Path("/proc")


def adopts_orphans() -> bool:
    """Whether orphans become children of this process."""
    if os.getpid() == 1:
        return True
    answer = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_GET_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


class Orphans:
    """The zombies that this process has as children."""

    def __init__(self) -> None:
        self._since: dict[tuple[int, bytes], float] = {}

    def reap(self, own: Collection[int]) -> list[int]:
        """Reap what has been a zombie for a while; return the process ids.

        Args:
            own: children that somebody else reaps, who would miss their status.
        """
        now = time.monotonic()
        zombies = {(pid, start) for pid, start in _zombies() if pid not in own}
        self._since = {each: self._since.get(each, now) for each in zombies}
        reaped = []
        for (pid, _), since in self._since.items():
            if now - since >= PATIENCE:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                    reaped.append(pid)
        return reaped


def _zombies() -> Iterator[tuple[int, bytes]]:
    """Yield the children of this process that are zombies, each with the time of its start."""
    for pid in _children():
        with contextlib.suppress(OSError, ValueError):
            stat = (_PROC / str(pid) / "stat").read_bytes()
            # The name, in parentheses, may hold spaces and parentheses itself.
            fields = stat[stat.rindex(b")") + 2 :].split()
            if fields[0] == b"Z" and int(fields[1]) == os.getpid():
                yield pid, fields[19]


def _children() -> Iterator[int]:
    try:
        for task in (_PROC / "self/task").iterdir():
            yield from map(int, (task / "children").read_text().split())
    except OSError:
        # A kernel without that list: the processes are looked at one by one.
        yield from (int(each.name) for each in _PROC.glob("[0-9]*"))
