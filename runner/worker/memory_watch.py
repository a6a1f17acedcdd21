"""Find the runs that use more memory than their jobs allow (``memory:`` of a job).

A check is cheap while nothing is wrong: it adds up the RSS of the known processes, which the kernel provides quickly.
The limit applies to PSS, which is never larger and is measured only if the sum is above the limit. New processes are
found in the process table, which is read from time to time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from runner.model.job import JobSpec
from runner.process.memory import family, memory_of, process_table, rss

LOOK_SECONDS = 0.1
"""Seconds between two checks, during which a run can exceed its limit."""

EXPECT_SECONDS = 1.0
"""Seconds to keep checking for the next run with a limit."""

PAUSES = (0.2, 2.0)
"""The minimum and maximum seconds between two readings of the process table; in between, 50 times its duration."""

REST = 5
"""A run near its limit is measured again after this multiple of the duration of the last measurement."""


class Exceeded(NamedTuple):
    """A run that exceeded its memory limit. ``peak``: the largest measurement (bytes).

    ``members``: its processes, of which some may be outside of the run's process group.
    """

    pid: int
    job: JobSpec
    token: str
    peak: int
    limit: int
    members: frozenset[int]


@dataclass(slots=True)
class _Run:
    """A watched run."""

    pid: int
    job: JobSpec
    limit: int
    allowance: int
    """The sum of RSS up to which its memory cannot have passed the limit since the last measurement."""
    groups: set[int]
    members: set[int] = field(default_factory=set)
    peak: int = 0
    is_reported: bool = False


class MemoryWatch:
    """Watches the runs of one worker. Not thread-safe."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._read_at = 0.0
        self._rest_until = 0.0
        self._expects_until = 0.0

    @property
    def pause(self) -> float:
        """Return the seconds until the next check; infinite while no run has a limit."""
        return LOOK_SECONDS if self._runs or time.monotonic() < self._expects_until else math.inf

    def expect(self) -> None:
        """Keep checking for a while: a run with a limit has begun, and others may follow."""
        self._expects_until = time.monotonic() + EXPECT_SECONDS

    def look(self, held: Iterable[tuple[int, JobSpec, str]]) -> list[Exceeded]:
        """Return the runs to end, each once. Some may have ended since ``held`` was read.

        Args:
            held: the active runs: the process (which leads a process group), the job, and the token of the claim.
        """
        watched = {token: (pid, job) for pid, job, token in held if job.memory is not None}
        self._runs = {token: run for token, run in self._runs.items() if token in watched}
        for token, (pid, job) in watched.items():
            if token not in self._runs:
                assert job.memory is not None
                self._runs[token] = _Run(pid, job, job.memory, job.memory, {pid}, {pid})
        if not self._runs:
            return []
        now = time.monotonic()
        due = now >= self._read_at
        if due or (now >= self._rest_until and any(_suspicious(run) for run in self._runs.values())):
            self._measure(due)
        return [
            self._exceeded(token, run)
            for token, run in self._runs.items()
            if run.peak > run.limit and not run.is_reported
        ]

    def _measure(self, due: bool) -> None:
        began = time.monotonic()
        table = process_table()
        for run in self._runs.values():
            run.members = family(table, run.groups)
            # A group without its leader still belongs to the run while it has members.
            run.groups = {run.pid, *(table[pid].group for pid in run.members)} & (run.groups | run.members)
            total = sum(table[pid].rss for pid in run.members)
            if not run.is_reported and total > (run.limit if due else run.allowance):
                memory = memory_of(run.members, table)
                run.peak = max(run.peak, memory)
                run.allowance = total + max(0, run.limit - memory)
        ended = time.monotonic()
        took = ended - began
        self._read_at = ended + min(max(PAUSES[0], 50 * took), PAUSES[1])
        self._rest_until = ended + REST * took

    def _exceeded(self, token: str, run: _Run) -> Exceeded:
        run.is_reported = True
        return Exceeded(run.pid, run.job, token, run.peak, run.limit, frozenset(run.members))


def _suspicious(run: _Run) -> bool:
    return not run.is_reported and sum(map(rss, run.members)) > run.allowance
