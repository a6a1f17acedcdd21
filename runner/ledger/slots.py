"""The ledger's marks of schedules: the last handled slot of each job, and the first use of each schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID, uuid5

from runner._dataclass import dataclass
from runner.ledger.record import pairs
from runner.ledger.store import Store
from runner.model.run import to_timestamp

_SLOTS = UUID("8f2b5a0e-6c1d-5d0a-9a53-3f0e7c5b21d4")
"""The namespace of the ids of scheduled runs (RFC 9562, version 5)."""

NO_SCHEDULE = "-"
"""The digest of a job without a schedule."""

VERSIONS_KEPT = 600_000
"""A schedule without a tick for this long, while another version of it was ticked, is dropped (ms)."""

FARTHEST_AHEAD = 86_400_000
"""A mark that is farther ahead of the clock is not from a tick, and would stop the schedule (ms)."""

_PORTION = 1000
_VERSION = re.compile(r"(\S+) ([0-9]+) ([0-9]+)")


class Version(NamedTuple):
    """A version of a job's schedule that is in use: no slot up to ``since`` (Unix ms) is run."""

    digest: str
    since: int


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of schedules. Times are Unix milliseconds; ``now`` is Redis' clock."""

    now: int
    last: Mapping[str, int]
    """The last slot that was submitted or left out, by job."""
    versions: Mapping[str, Sequence[Version]]
    damaged: frozenset[str] = frozenset()
    """Jobs whose last slot is not from a tick. It counts as ``now``, so that no slot runs twice."""


class Note(NamedTuple):
    """A mark for a job: the digest of its schedule (None: unchanged), and a slot that needs no run."""

    job: str
    digest: str | None = None
    slot: int | None = None


def slot_id(namespace: str, job: str, slot: int) -> str:
    """Return the id of the run for a slot (Unix ms). It is derived from the job and the slot, so each slot has one run.

    The namespace is part of it, because Celery's key for a result (``celery-task-meta-ID``) has none and projects can
    share a Redis.
    """
    return str(uuid5(_SLOTS, f"{namespace}\n{job}\n{to_timestamp(slot)}"))


def read_marks(store: Store, jobs: Sequence[str] | None = None) -> Marks:
    """Return the marks of ``jobs``, by default of all jobs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if jobs is not None and not jobs:
        jobs = ("",)  # no job has this name; only the clock is needed
    clock, last, versions = store.script("slots", *(jobs or ()))
    now = int(clock)
    marks = {job: _mark(slot, now) for job, slot in pairs(last).items()}
    return Marks(
        now,
        {job: now if slot is None else slot for job, slot in marks.items()},
        {job: _versions(text) for job, text in pairs(versions).items()},
        frozenset(job for job, slot in marks.items() if slot is None),
    )


def _mark(text: str, now: int) -> int | None:
    try:
        slot = int(float(text))
    except (ValueError, OverflowError):
        return None
    return slot if slot <= now + FARTHEST_AHEAD else None


def _versions(text: str) -> tuple[Version, ...]:
    """Return the versions that ``schedules.lua`` wrote; other content counts as absent, there as well."""
    return tuple(Version(name, int(since)) for name, since, _ in _VERSION.findall(text))


def note(store: Store, now: int, notes: Sequence[Note]) -> None:
    """Record marks of schedules at ``now`` (Unix ms).

    Raises:
        Unavailable: Redis cannot be reached.
    """
    for first in range(0, len(notes), _PORTION):
        flat = [
            part
            for mark in notes[first : first + _PORTION]
            for part in (mark.job, mark.digest or "", "" if mark.slot is None else mark.slot)
        ]
        store.script("schedules", now, VERSIONS_KEPT, *flat)
