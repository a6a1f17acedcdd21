"""Look up what became of the past slots of schedules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from runner.ledger.reach import reaching
from runner.ledger.slots import NO_SCHEDULE, read_marks, slot_id
from runner.model.run import State
from runner.schedule.timetable import from_milliseconds, milliseconds

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger


class SlotRun(NamedTuple):
    """The run of a slot."""

    id: str
    state: str
    reason: str | None


def runs_of_slots(ledger: Ledger, slots: Iterable[tuple[str, datetime]]) -> dict[tuple[str, datetime], SlotRun | None]:
    """Return the run of each slot, given as job and time; None for a slot of which no run is recorded.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    ids = {(job, slot): slot_id(ledger.settings.namespace, job, milliseconds(slot)) for job, slot in slots}
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for run_id in ids.values():
            pipe.hmget(ledger.keys.run(run_id), ["state", "reason"])
        records = pipe.execute()
    return {
        key: SlotRun(run_id, state, reason or None) if state in State.__members__ else None
        for (key, run_id), (state, reason) in zip(ids.items(), records, strict=True)
    }


def schedule_starts(ledger: Ledger, jobs: Iterable[str]) -> dict[str, datetime]:
    """Return the time since when each job has its present schedule; without jobs that no scheduler serves.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found = {}
    for job, versions in read_marks(ledger, sorted(jobs)).versions.items():
        starts = [version.since for version in versions if version.digest != NO_SCHEDULE]
        if starts:
            found[job] = from_milliseconds(min(starts))
    return found
