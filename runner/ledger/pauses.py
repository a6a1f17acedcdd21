"""Pauses: jobs that are held for a while, by a record in the ledger that holds at once and for the whole fleet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runner.ledger.connection import reaching
from runner.model.pause import Pause

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger


def read_pause(job: str, text: str) -> Pause:
    """Return the pause that a script tells of."""
    told = json.loads(text)
    ends = told.get("ends")
    return Pause(job, told["by"], int(told["since"]), int(ends) if ends else None, told.get("comment"))


def pause(ledger: Ledger, job: str, *, by: str, seconds: float | None = None, comment: str | None = None) -> Pause:
    """Pause a job, or all (``*``), for ever or for so many seconds.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    told = ledger.script("pause", job, by, "" if seconds is None else round(seconds * 1000), comment or "")
    return read_pause(job, told)


def resume(ledger: Ledger, job: str, *, by: str | None = None) -> bool:
    """End the pause of a job, or that of all (``*``); return whether there was one.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found = read_pauses(ledger)
    ledger.script("resume", job, by or "")
    return job in found


def read_pauses(ledger: Ledger) -> dict[str, Pause]:
    """Return the pauses that hold now, by job.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(ledger.settings):
        found: Any = ledger.client.hgetall(f"{ledger.namespace}:paused")
    if not found:
        return {}
    now = ledger.now() * 1000
    pauses = {job: read_pause(job, text) for job, text in found.items()}
    return {job: held for job, held in pauses.items() if held.ends is None or held.ends > now}
