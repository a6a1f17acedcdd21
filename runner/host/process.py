"""Identify recorded processes: process ids are reused, and each container has its own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path


def started_at(pid: int) -> str | None:
    """Return a text that identifies the start of a process and tells reused ids apart; None without such a process."""
    if os.path.exists("/proc/self/stat"):  # noqa: PTH110 - Linux
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return fields[19].decode("ascii")  # clock ticks since the machine started: field 22 of proc(5)
        except (OSError, IndexError, UnicodeDecodeError):
            return None
    try:
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return "-".join(answer.stdout.decode("ascii", "replace").split()) or None


def is_same(pid: int, started: str) -> bool:
    """Return whether ``pid`` is still the process that ``started_at`` described."""
    return pid > 1 and started_at(pid) == started


def has_open(pid: int, wanted: os.stat_result) -> bool:
    """Return whether a process has the file with the status ``wanted`` open; False on systems without ``/proc``."""
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found = link.stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    except OSError:
        pass
    return False


def send(pid: int, started: str, signum: int) -> bool:
    """Send a signal to the process that ``started_at`` described; return False, without sending one, if it is gone."""
    if not hasattr(os, "pidfd_open"):
        if not is_same(pid, started):
            return False
        os.kill(pid, signum)
        return True
    try:
        # While the pidfd is open, the id cannot pass to another process between the check and the signal.
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):
        return False
    try:
        if not is_same(pid, started):
            return False
        signal.pidfd_send_signal(descriptor, signum)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
