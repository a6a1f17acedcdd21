"""Backfills: groups of runs for past slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from runner._dataclass import dataclass
from runner.errors import AmbiguousId, UnknownRun
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.run import State, to_timestamp

_BACKFILLS = UUID("b1f7c9d2-3d0c-5c0e-8a55-6c1f0d7a94e8")
"""The namespace of the ids of backfills (RFC 9562, version 5)."""

KEPT = 1000
"""The number of newest backfills that are kept; the runs of older ones stay."""
SHORTEST_PREFIX = 8

_PORTION = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """A group of runs for the slots of a job. Times are Unix milliseconds.

    ``slots``: the number of slots between ``begin`` and ``end``. ``made``: the number of runs so far; ``ended``: the
    number of ended ones by state. ``at_once``: the maximum number of active runs, None for no limit. ``again``: whether
    slots that had a run get another one.
    """

    id: str
    job: str
    begin: int
    end: int
    slots: int
    at_once: int | None = None
    again: bool = False
    by: str | None = None
    at: int = 0
    made: int = 0
    ended: dict[State, int]
    revoked: bool = False

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "id": self.id,
            "job": self.job,
            "from": to_timestamp(self.begin),
            "to": to_timestamp(self.end),
            "at_once": self.at_once,
            "again": self.again,
            "submitted_by": self.by,
            "submitted_at": to_timestamp(self.at),
            "slots": self.slots,
            "runs": self.made,
            "unfinished": max(0, self.made - sum(self.ended.values())),
            **{str(state): number for state, number in self.ended.items()},
            "revoked": self.revoked,
        }


def backfill_id(namespace: str, job: str, begin: int, end: int) -> str:
    """Return the id of the backfill for a range of slots: the same request continues the same backfill."""
    return str(uuid5(_BACKFILLS, f"{namespace}\n{job}\n{begin}\n{end}"))


def begin_backfill(store: Store, backfill: Backfill) -> None:
    """Record the backfill before its first run is submitted.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    store.script(
        "backfill",
        backfill.id,
        backfill.job,
        backfill.begin,
        backfill.end,
        backfill.at_once or "",
        "1" if backfill.again else "",
        backfill.by or "",
        backfill.slots,
        KEPT,
    )


def revoke_backfill(store: Store, backfill: str, *, by: str, comment: str | None) -> bool:
    """Stop a backfill from submitting more runs; return whether it exists. Its existing runs stay.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return bool(store.script("revoke_backfill", backfill, by, comment or ""))


def have_run(store: Store, job: str, slots: Sequence[tuple[int, str]]) -> list[bool]:
    """Return for each slot (Unix ms and the id of its run) whether it has or had a run.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found: list[bool] = []
    with reaching(store.settings):
        for first in range(0, len(slots), _PORTION):
            with store.client.pipeline(transaction=False) as pipe:
                for slot, run_id in slots[first : first + _PORTION]:
                    pipe.exists(store.keys.slot(job, slot), store.keys.run(run_id))
                found += [bool(count) for count in pipe.execute()]
    return found


def read_backfills(store: Store, limit: int = KEPT) -> list[Backfill]:
    """Return backfills, newest request first.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        ids = [str(backfill) for backfill in store.client.zrange(store.keys.backfills, 0, limit - 1, desc=True)]
        with store.client.pipeline(transaction=False) as pipe:
            for backfill in ids:
                pipe.hgetall(store.keys.backfill(backfill))
            held = pipe.execute(raise_on_error=False)
    return [
        found
        for backfill, fields in zip(ids, held, strict=True)
        if isinstance(fields, dict) and (found := _read(backfill, fields)) is not None
    ]


def find_backfill(store: Store, reference: str) -> Backfill:
    """Return the backfill with an id, or with a unique prefix of 8 or more characters.

    Raises:
        UnknownRun: no backfill matches.
        AmbiguousId: several backfills match.
        Unavailable: Redis cannot be reached.
    """
    found = [backfill for backfill in read_backfills(store) if backfill.id.startswith(reference)]
    exact = [backfill for backfill in found if backfill.id == reference]
    if exact:
        return exact[0]
    if not found or not reference:
        raise UnknownRun(f"there is no backfill {reference!r}", hint="runner backfills lists them")
    if len(reference) < SHORTEST_PREFIX or len(found) > 1:
        raise AmbiguousId(f"{reference!r} may be more than one backfill", hint="give more characters")
    return found[0]


def _read(backfill: str, fields: dict[str, str]) -> Backfill | None:
    """Return the backfill in Redis; None if the record has another form."""

    def number(name: str, otherwise: int = 0) -> int:
        text = fields.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else otherwise

    if "job" not in fields:
        return None
    return Backfill(
        id=backfill,
        job=fields["job"],
        begin=number("from"),
        end=number("to"),
        slots=number("slots"),
        at_once=number("at_once") or None,
        again=fields.get("again") == "1",
        by=fields.get("by") or None,
        at=number("at"),
        made=number("made"),
        ended={state: number(state) for state in (State.SUCCESS, State.FAILURE, State.REVOKED)},
        revoked=fields.get("revoked") == "1",
    )
