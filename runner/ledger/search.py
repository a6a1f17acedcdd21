"""Finds runs by what is known of them, page by page, without looking at all there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runner.errors import UsageError
from runner.model.run import FailureReason, Run, State

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

MOST_LOOKED_AT = 10_000
"""Runs that one page looks at; then it ends, and its cursor says where."""

_AT_ONCE = 500
"""Runs that one call of the script looks at: about two milliseconds."""
_ERRORS_AT_ONCE = 100
"""The same where their errors are searched, which may be long."""
_READ_AT_ONCE = 200

Order = Literal["newest", "oldest", "longest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for; a field that is None asks for nothing.

    ``since`` and ``until`` are Unix times in seconds, of the submission. ``worker`` is its name, or the part after
    the ``@``. ``text`` is looked for in type, message and traceback of the error, whatever its case. ``longest``
    orders what one page looks at by how long it took.
    """

    job: str | None = None
    states: Sequence[State] = ()
    since: float | None = None
    until: float | None = None
    reason: str | None = None
    tag: str | None = None
    worker: str | None = None
    trigger: str | None = None
    key: str | None = None
    text: str | None = None
    order: Order = "newest"

    def searched(self) -> list[State]:
        """Return the states that can have what is asked for: fewer indexes are looked through."""
        possible = set(State)
        if self.reason is not None:
            possible &= {State.FAILURE} if self.reason in set(FailureReason) else {State.REVOKED}
        if self.text is not None:
            possible -= {State.SUCCESS}
        return [state for state in State if state in possible and (not self.states or state in self.states)]

    def conditions(self) -> list[str]:
        """Return what must be looked up in a record: names of fields and texts, in turn."""
        wanted = {
            "reason": self.reason,
            "trigger": self.trigger,
            "key": self.key,
            "worker": self.worker,
            # As they stand in the record, which is JSON.
            "tags": json.dumps(self.tag) if self.tag is not None else None,
            "error": "\n".join(_spellings(self.text)) if self.text is not None else None,
        }
        return [part for name, value in wanted.items() if value is not None for part in (name, value)]


def _spellings(text: str) -> list[str]:
    """Return the forms of a text that stand for it in a record, where letters other than ASCII's are escaped."""
    return sorted({json.dumps(each)[1:-1].lower() for each in (text, text.lower(), text.upper(), text.capitalize())})


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, in order. ``cursor`` leads to the next page; None: there is none.

    ``looked_at`` counts runs; ``reached`` is the submission, in Unix ms, of the last of them. ``cut`` tells that the
    page ended because it had looked at enough, not because it was full.
    """

    runs: list[Run]
    cursor: str | None
    looked_at: int
    reached: int | None
    cut: bool


def search(ledger: Ledger, query: Query, *, limit: int, cursor: str | None = None, look: int = MOST_LOOKED_AT) -> Page:
    """Return up to ``limit`` runs that fit.

    Its cost does not depend on how many runs there are: conditions on job, state and time use an index, the others
    are asked of at most ``look`` runs.

    Raises:
        UsageError: the cursor is none.
        Unavailable: Redis cannot be reached.
    """
    at, after = _read_cursor(cursor)
    states, conditions = query.searched(), query.conditions()
    longest = query.order == "longest"
    portion = _ERRORS_AT_ONCE if query.text is not None else _AT_ONCE
    found: list[tuple[str, float]] = []
    looked, over = 0, not states
    while not over and looked < look and (longest or len(found) < limit):
        flat, at, after, count, over = ledger.script(
            "find",
            "oldest" if query.order == "oldest" else "newest",
            "-inf" if query.since is None else round(query.since * 1000),
            "+inf" if query.until is None else round(query.until * 1000),
            at,
            after,
            portion if longest else min(portion, limit - len(found)),
            min(portion, look - looked),
            query.job or "",
            ",".join(states),
            "1" if longest else "",
            *conditions,
        )
        looked += int(count)
        found += [(run_id, float(took or -1)) for run_id, took in zip(flat[::2], flat[1::2], strict=True)]
    if longest:
        found = sorted(found, key=lambda each: each[1], reverse=True)[:limit]
    runs = [run for run in _read(ledger, [run_id for run_id, _ in found]) if not states or run.state in states]
    cut = not over and looked >= look and (longest or len(found) < limit)
    return Page(runs, None if over else f"{at}:{after}", looked, int(at) if at else None, cut)


def _read(ledger: Ledger, ids: Sequence[str]) -> list[Run]:
    return [
        run for first in range(0, len(ids), _READ_AT_ONCE) for run in ledger.read(ids[first : first + _READ_AT_ONCE])
    ]


def _read_cursor(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return "", ""
    at, colon, after = cursor.partition(":")
    if not (colon and after and at.isascii() and at.isdigit() and len(at) < 16):
        raise UsageError(f"{cursor!r} is no cursor", hint="give the one that the page before ended with")
    return at, after
