"""Measure the memory of a run: its process, all processes that it started, and their process groups.

The figures come from ``/proc`` on Linux and from ``ps`` elsewhere. Shared memory is divided among the processes that
share it (PSS) where the kernel provides that (``smaps_rollup``, Linux 4.14), and counts fully (RSS) elsewhere.
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
    """A process at the time of the measurement. ``rss`` is in bytes."""

    parent: int
    group: int
    rss: int


def process_table() -> dict[int, Process]:
    """Return the processes that this one can see, by id."""
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
    # The name is in parentheses, and may contain spaces and parentheses.
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
    """Return the processes of ``groups``, their descendants, and the members of groups that any of these lead.

    Supervisors of process groups belong to the runner and are left out.
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
    """Return the resident memory of a process in bytes, shared memory included; 0 if that is unknown."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - called at each measurement of a run
            return int(file.read().split(maxsplit=2)[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def pss(pid: int) -> int | None:
    """Return the proportional set size (PSS) of a process in bytes; None if the kernel does not tell.

    The kernel needs about 10 ms for each GiB of the process.
    """
    with contextlib.suppress(OSError):
        if found := _PSS.search((_PROC / str(pid) / "smaps_rollup").read_bytes()):
            return int(found[1]) * 1024
    return None


def memory_of(pids: Iterable[int], table: Mapping[int, Process]) -> int:
    """Return the memory of all given processes in bytes."""
    total = 0
    for pid in pids:
        share = pss(pid)
        total += table[pid].rss if share is None else share
    return total


def own_memory() -> int:
    """Return the memory of this process in bytes: its PSS where the kernel tells it, its RSS elsewhere."""
    pid = os.getpid()
    return pss(pid) or rss(pid) or process_table()[pid].rss


def holds_more_than(limit: int) -> bool:
    """Return whether this process uses more than ``limit`` bytes. Usually reads one small file."""
    return not 0 < rss(os.getpid()) <= limit and own_memory() > limit
