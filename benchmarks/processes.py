"""Processes and their descendants: what they take, and their end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def tree(root: int) -> set[int]:
    """Return a process and its descendants, those in sessions of their own too: supervisors are."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = _stat(int(entry.name))
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = {root}, [root]
    while left:
        left = [child for parent in left for child in children.get(parent, []) if child not in found]
        found.update(left)
    return found


def processor_seconds(pids: set[int]) -> float:
    """Return the processor time that processes, and children they have waited for, have taken."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(int(field) for field in _stat(pid)[11:15])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def proportional_mebibytes(pids: set[int]) -> float:
    """Return the memory of processes; a page shared by n processes counts 1/n for each."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def descriptors(pids: set[int]) -> int:
    """Return the number of open descriptors of some processes."""
    total = 0
    for pid in pids:
        try:
            total += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
    return total


def end(pids: set[int], patience: float = 5.0) -> None:
    """Wait until processes have ended, and kill those that have not within ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while pids and time.monotonic() < deadline:
        pids = {pid for pid in pids if Path(f"/proc/{pid}").exists()}
        time.sleep(0.02)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; those before it may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
