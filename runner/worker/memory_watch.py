"""Finds the runs that hold more memory than their jobs allow (``memory:`` of a job).

A look is cheap while nothing is wrong: it adds up the RSS of the processes that were known last, which the kernel has
at hand. PSS, which counts, is never more than that, and is measured only for a run whose sum is above its limit. New
processes are found in the process table, which is read now and then.
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
"""Between two looks: what a run allocates meanwhile, it holds beyond its limit."""

EXPECT_SECONDS = 1.0
"""How long to look for the next run with a limit."""

PAUSES = (0.2, 2.0)
"""The least and the most seconds between two readings of the process table. In between, 50 times what one takes."""

REST = 5
"""A run near its limit is measured again after this many times the duration of the last measurement."""


class Exceeded(NamedTuple):
    """A run that held more memory than its job allows. ``peak`` is the most that was measured, in bytes.

    ``members`` are its processes. Not all of them need be in the process group that ends with the run.
    """

    pid: int
    job: JobSpec
    token: str
    peak: int
    limit: int
    members: frozenset[int]


@dataclass(slots=True)
class _Run:
    """A run under watch."""

    pid: int
    job: JobSpec
    limit: int
    allowance: int
    """Up to this sum of RSS, its memory cannot have passed the limit since it was last measured."""
    groups: set[int]
    members: set[int] = field(default_factory=set)
    peak: int = 0
    told: bool = False


class MemoryWatch:
    """Watches the runs of one worker. Called by one thread."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._read_at = 0.0
        self._rest_until = 0.0
        self._expects_until = 0.0

    @property
    def pause(self) -> float:
        """The seconds until the next look; infinite while no run has a limit."""
        return LOOK_SECONDS if self._runs or time.monotonic() < self._expects_until else math.inf

    def expect(self) -> None:
        """Look for a while: a run with a limit has begun, and others may follow it."""
        self._expects_until = time.monotonic() + EXPECT_SECONDS

    def look(self, held: Iterable[tuple[int, JobSpec, str]]) -> list[Exceeded]:
        """Return the runs to end; each is returned once. One of them may have ended since ``held`` was read.

        Args:
            held: the runs that are performed now: the process that performs it, which leads a process group; the job;
                the token of the claim.
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
        return [self._tell(token, run) for token, run in self._runs.items() if run.peak > run.limit and not run.told]

    def _measure(self, due: bool) -> None:
        began = time.monotonic()
        table = process_table()
        for run in self._runs.values():
            run.members = family(table, run.groups)
            # A group whose leader has ended is still the run's while it has members.
            run.groups = {run.pid, *(table[pid].group for pid in run.members)} & (run.groups | run.members)
            total = sum(table[pid].rss for pid in run.members)
            if not run.told and total > (run.limit if due else run.allowance):
                memory = memory_of(run.members, table)
                run.peak = max(run.peak, memory)
                run.allowance = total + max(0, run.limit - memory)
        ended = time.monotonic()
        took = ended - began
        self._read_at = ended + min(max(PAUSES[0], 50 * took), PAUSES[1])
        self._rest_until = ended + REST * took

    def _tell(self, token: str, run: _Run) -> Exceeded:
        run.told = True
        return Exceeded(run.pid, run.job, token, run.peak, run.limit, frozenset(run.members))


def _suspicious(run: _Run) -> bool:
    return not run.told and sum(map(rss, run.members)) > run.allowance
