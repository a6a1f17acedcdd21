"""What the ledger knows of schedules: how far each job's slots were handled, and since when a schedule is in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid5

from runner.ledger.connection import reaching
from runner.ledger.record import pairs
from runner.ledger.scripts import digest, source
from runner.ledger.submission import arguments_of
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger
    from runner.ledger.submission import Submission

_SLOTS = UUID("8f2b5a0e-6c1d-5d0a-9a53-3f0e7c5b21d4")
"""The name space of the ids of scheduled runs (RFC 9562, version 5)."""

NO_SCHEDULE = "-"
"""Stands for the digest of a schedule where a job has none."""

VERSIONS_KEPT = 600_000
"""Milliseconds: a schedule that nobody ticked for so long, while another one of the job was, is gone."""

_PORTION = 1000


class Version(NamedTuple):
    """A version of a job's schedule that is in use: no slot up to ``since`` (Unix ms) is run."""

    digest: str
    since: int


@dataclass(frozen=True, slots=True)
class Marks:
    """How far schedules were handled. Times are Unix milliseconds; ``now`` is Redis' clock."""

    now: int
    last: Mapping[str, int]
    """By job: the last slot that was submitted or left out."""
    versions: Mapping[str, Sequence[Version]]


class Note(NamedTuple):
    """What is noted of a job: the digest of its schedule (None: nothing), and a slot that needs no run."""

    job: str
    digest: str | None = None
    slot: int | None = None


def slot_id(namespace: str, job: str, slot: int) -> str:
    """Return the id of the run of a slot (Unix ms): it follows from job and slot, so that each has one run.

    Projects that share a Redis have namespaces of their own, and so different ids: Celery's key of a result
    (``celery-task-meta-ID``) has no namespace.
    """
    return str(uuid5(_SLOTS, f"{namespace}\n{job}\n{to_timestamp(slot)}"))


def read_marks(ledger: Ledger, jobs: Sequence[str] | None = None) -> Marks:
    """Return the marks of ``jobs``, by default of all.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if jobs is not None and not jobs:
        jobs = ("",)  # no job has this name; the clock is wanted
    now, last, versions = ledger.script("slots", *(jobs or ()))
    return Marks(
        int(now),
        {job: int(float(slot)) for job, slot in pairs(last).items()},
        {job: _versions(text) for job, text in pairs(versions).items()},
    )


def _versions(text: str) -> tuple[Version, ...]:
    words = text.split(" ")
    return tuple(Version(words[i], int(words[i + 1])) for i in range(0, len(words) - 2, 3))


def note(ledger: Ledger, now: int, notes: Sequence[Note]) -> None:
    """Note what was seen of schedules at ``now`` (Unix ms).

    Raises:
        Unavailable: Redis cannot be reached.
    """
    for first in range(0, len(notes), _PORTION):
        flat = [
            part
            for each in notes[first : first + _PORTION]
            for part in (each.job, each.digest or "", "" if each.slot is None else each.slot)
        ]
        ledger.script("schedules", now, VERSIONS_KEPT, *flat)


def submit_slots(ledger: Ledger, submissions: Sequence[Submission]) -> list[bool]:
    """Submit runs of slots, in this order and in few round trips; return for each whether it made a run.

    Each is one step of its own: whatever is cut off in between, the rest can be submitted again.

    Raises:
        Unavailable: Redis cannot be reached; some may have been submitted.
    """
    made: list[bool] = []
    with reaching(ledger.settings):
        for first in range(0, len(submissions), _PORTION):
            portion = submissions[first : first + _PORTION]
            with ledger.client.pipeline(transaction=False) as pipe:
                # Loading is cheap, and saves asking whether this server knows the script.
                pipe.script_load(source("runner.ledger", "submit"))
                for each in portion:
                    arguments = arguments_of(each, ledger.settings)
                    pipe.evalsha(digest("runner.ledger", "submit"), 1, ledger.namespace, *arguments)
                made += [answer[0] == "new" for answer in pipe.execute()[1:]]
    return made
