"""The memory that a run holds: its process, all that it has started, and their process groups.

Told from ``/proc`` on Linux, from ``ps`` elsewhere. Memory that several processes share counts for each of them by its
share (PSS) where the kernel provides that (``smaps_rollup``, Linux 4.14), and fully (RSS) elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from runner.process.group import is_supervisor

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PSS = re.compile(rb"^Pss:\s+([0-9]+) kB", re.MULTILINE)


class Process(NamedTuple):
    """A process as it was when it was looked at. ``rss`` is in bytes."""

    parent: int
    group: int
    rss: int


def process_table() -> dict[int, Process]:
    """Return the processes that this one may see, by their ids."""
    if not (_PROC / "self/stat").exists():
        return _from_ps()
    found = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 - there may be thousands
        if name.isdigit() and (process := _from_stat(name)):
            found[int(name)] = process
    return found


def _from_stat(pid: str) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - there may be thousands
            stat = file.read()
    except OSError:
        return None
    # The name, in parentheses, may hold spaces and parentheses itself.
    fields = stat[stat.rindex(b")") + 2 :].split(maxsplit=22)
    return Process(int(fields[1]), int(fields[2]), int(fields[21]) * _PAGE)


def _from_ps() -> dict[int, Process]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,pgid=,rss="], capture_output=True, text=True, check=False)
    found = {}
    for line in listed.stdout.splitlines():
        pid, parent, group, kib = map(int, line.split())
        found[pid] = Process(parent, group, kib * 1024)
    return found


def family(table: Mapping[int, Process], groups: Collection[int]) -> set[int]:
    """Return the processes of ``groups``, all that they have started, and the groups that any of these lead.

    The supervisors of process groups are the runner's own, and left out.
    """
    by_parent, by_group = defaultdict(list), defaultdict(list)
    for pid, process in table.items():
        by_parent[process.parent].append(pid)
        by_group[process.group].append(pid)
    found: set[int] = set()
    waiting = [pid for group in groups for pid in by_group[group]]
    while waiting:
        pid = waiting.pop()
        if pid in found or (table[pid].group == pid and is_supervisor(pid)):
            continue
        found.add(pid)
        waiting += by_parent[pid]
        waiting += by_group[pid]
    return found


def rss(pid: int) -> int:
    """Return the bytes of a process that are in memory, shared ones included; 0 if it is gone, or without ``/proc``."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - called each time a run is looked at
            return int(file.read().split(maxsplit=2)[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def pss(pid: int) -> int | None:
    """Return the bytes of a process that are in memory, shared ones by their share; None if nobody can tell.

    It takes the kernel about 10 ms for each GiB that the process holds.
    """
    with contextlib.suppress(OSError):
        if found := _PSS.search((_PROC / str(pid) / "smaps_rollup").read_bytes()):
            return int(found[1]) * 1024
    return None


def memory_of(pids: Iterable[int], table: Mapping[int, Process]) -> int:
    """Return the bytes that processes hold together."""
    total = 0
    for pid in pids:
        share = pss(pid)
        total += table[pid].rss if share is None else share
    return total


def own_memory() -> int:
    """Return the bytes that this process holds, shared ones by their share where the kernel tells."""
    pid = os.getpid()
    return pss(pid) or rss(pid) or process_table()[pid].rss


def holds_more_than(limit: int) -> bool:
    """Return whether this process holds more than ``limit`` bytes; mostly with one read of a small file."""
    return not 0 < rss(os.getpid()) <= limit and own_memory() > limit
