"""Reap the processes that become children of the worker when their parents die.

In a container, the worker is process 1, which adopts all orphans, such as a background process of a job or the
supervisor of a taker. After its end, each of them stays a zombie with a process id until the worker reaps it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

PATIENCE = 1.0
"""Seconds to leave a zombie alone: if code in this process started it, that code asks for its status sooner."""

_GET_SUBREAPER = 37  # PR_GET_CHILD_SUBREAPER of Linux
_PROC = Path("/proc")


def adopts_orphans() -> bool:
    """Return whether orphans become children of this process."""
    if os.getpid() == 1:
        return True
    answer = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_GET_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


class Orphans:
    """The zombies among the children of this process."""

    def __init__(self) -> None:
        self._since: dict[tuple[int, bytes], float] = {}

    def reap(self, own: Collection[int]) -> list[int]:
        """Reap children that have been zombies for a while; return their process ids.

        Args:
            own: process ids of children that other code reaps and whose status it needs.
        """
        now = time.monotonic()
        zombies = {(pid, start) for pid, start in _zombies() if pid not in own}
        self._since = {zombie: self._since.get(zombie, now) for zombie in zombies}
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
            # The name is in parentheses, and may contain spaces and parentheses.
            fields = stat[stat.rindex(b")") + 2 :].split()
            if fields[0] == b"Z" and int(fields[1]) == os.getpid():
                yield pid, fields[19]


def _children() -> Iterator[int]:
    try:
        for task in (_PROC / "self/task").iterdir():
            yield from map(int, (task / "children").read_text().split())
    except OSError:
        # The kernel does not provide that list, so all processes are checked.
        yield from (int(path.name) for path in _PROC.glob("[0-9]*"))
