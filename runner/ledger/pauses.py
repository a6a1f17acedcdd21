"""Pauses: records in the ledger that stop a job on the whole fleet at once."""

from __future__ import annotations

import json
from typing import Any

from runner.ledger.audit import log_act
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.pause import Pause


def read_pause(job: str, text: str) -> Pause:
    """Return the pause in a script's answer."""
    fields = json.loads(text)
    ends = fields.get("ends")
    return Pause(job, fields["by"], int(fields["since"]), int(ends) if ends else None, fields.get("comment"))


def _read_any(job: str, text: str) -> Pause:
    """Return the pause in Redis. A damaged record pauses only its own job, until somebody resumes it."""
    try:
        return read_pause(job, text)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return Pause(job, "?", 0, None, f"its record is damaged, runner resume {job} removes it")


def pause(store: Store, job: str, *, by: str, seconds: float | None = None, comment: str | None = None) -> Pause:
    """Pause a job, or all (``*``), until it is resumed or for ``seconds``.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    answer, changed = store.script("pause", job, by, "" if seconds is None else round(seconds * 1000), comment or "")
    if changed:
        log_act("pause", by, job=job, comment=comment)
    return read_pause(job, answer)


def resume(store: Store, job: str, *, by: str | None = None) -> bool:
    """End the pause of a job, or of all (``*``); return whether there was one.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found = read_pauses(store)
    if store.script("resume", job, by or ""):
        log_act("resume", by, job=job)
    return job in found


def read_pauses(store: Store) -> dict[str, Pause]:
    """Return the current pauses by job.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        found: Any = store.client.hgetall(store.keys.paused)
    if not found:
        return {}
    now = store.now() * 1000
    pauses = {job: _read_any(job, text) for job, text in found.items()}
    return {job: held for job, held in pauses.items() if held.ends is None or held.ends > now}
