"""Search runs by their fields, page by page, without reading all runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner._dataclass import dataclass
from runner.errors import UsageError
from runner.ledger.reading import read_runs
from runner.ledger.store import Store
from runner.model.run import FailureReason, Run, State
from runner.model.run_page import Merged, Part, Position
from runner.model.run_query import RunQuery

MOST_LOOKED_AT = 10_000
"""The maximum number of runs that are examined for a page; its cursor continues from there."""

_AT_ONCE = 500
"""The maximum number of runs that one script call examines, in about two milliseconds."""
_ERRORS_AT_ONCE = 100
"""The same limit if their errors are searched, which may be long."""
_READ_AT_ONCE = 200


def searched(query: RunQuery) -> list[State]:
    """Return the states that can match a query, so that fewer indexes are read."""
    possible = set(State)
    if query.reason is not None:
        possible &= {State.FAILURE} if query.reason in set(FailureReason) else {State.REVOKED}
    if query.grep is not None:
        possible -= {State.SUCCESS}
    return [state for state in State if state in possible and (not query.state or state in query.state)]


def conditions(query: RunQuery) -> list[str]:
    """Return the texts to search for in a record, as alternating field names and values."""
    wanted = {
        "reason": query.reason,
        "trigger": query.trigger,
        "key": query.key,
        "backfill": query.backfill,
        "step": query.step,
        "worker": query.worker,
        # In the form of the record, which is JSON.
        "tags": json.dumps(query.tag) if query.tag is not None else None,
        "error": "\n".join(spellings(query.grep)) if query.grep is not None else None,
    }
    return [part for name, value in wanted.items() if value is not None for part in (name, value)]


def spellings(text: str) -> list[str]:
    """Return the possible forms of a text in a record, where non-ASCII letters are escaped."""
    return sorted(
        {json.dumps(spelling)[1:-1].lower() for spelling in (text, text.lower(), text.upper(), text.capitalize())}
    )


@dataclass(frozen=True, slots=True)
class Page:
    """A page of runs in order. ``cursor``: for the next page; None if this is the last one.

    ``looked_at``: the number of examined runs; ``reached``: the submission time of the last of them (Unix ms), None in
    a flow. ``cut``: whether the page ended because enough runs were examined, and not because it was full.
    """

    runs: list[Run]
    cursor: str | None
    looked_at: int
    reached: int | None
    cut: bool


def part_of(page: Page) -> Part:
    """Return a page of the ledger as a part of a merged page."""
    return Part(page.runs, read_cursor(page.cursor), page.looked_at, page.cut)


def page_of(parts: Sequence[Part], merged: Merged) -> Page:
    """Return the page for merged parts."""
    cursor, reached = None, None
    if merged.end is not None:
        cursor, reached = f"{merged.end.at}:{merged.end.id}", merged.end.at
    return Page(merged.runs, cursor, sum(part.looked_at for part in parts), reached, merged.cut)


def search(store: Store, query: RunQuery, *, limit: int, cursor: str | None = None, look: int = MOST_LOOKED_AT) -> Page:
    """Return up to ``limit`` matching runs.

    The cost does not depend on the number of runs: filters on job, state, and time use an index, and the others are
    checked on at most ``look`` runs. In a flow, all step runs are checked, in their order.

    Raises:
        UsageError: the cursor is invalid, or the query has no pages.
        Unavailable: Redis cannot be reached.
    """
    start = first_position(query, cursor)
    at, after = ("", "") if start is None else (str(start.at), start.id)
    states, wanted = searched(query), conditions(query)
    longest = query.sort == "longest"
    portion = _ERRORS_AT_ONCE if query.grep is not None else _AT_ONCE
    found: list[tuple[str, float]] = []
    looked, over = 0, not states
    while not over and looked < look and (longest or len(found) < limit):
        flat, at, after, count, over = store.script(
            "find",
            "oldest" if query.sort == "oldest" else "newest",
            "-inf" if query.since is None else round(query.since * 1000),
            "+inf" if query.until is None else round(query.until * 1000),
            at,
            after,
            portion if longest else min(portion, limit - len(found)),
            min(portion, look - looked),
            query.job or "",
            ",".join(states),
            "1" if longest else "",
            query.flow or "",
            "1" if query.steps or query.step is not None else "",
            *wanted,
        )
        looked += int(count)
        found += [(run_id, float(took or -1)) for run_id, took in zip(flat[::2], flat[1::2], strict=True)]
    if longest:
        found = sorted(found, key=lambda pair: pair[1], reverse=True)[:limit]
    runs = [run for run in _read(store, [run_id for run_id, _ in found]) if not states or run.state in states]
    cut = not over and looked >= look and (longest or len(found) < limit)
    reached = int(at) if at and query.flow is None else None
    return Page(runs, None if over or longest else f"{at}:{after}", looked, reached, cut)


def _read(store: Store, ids: Sequence[str]) -> list[Run]:
    portions = [ids[first : first + _READ_AT_ONCE] for first in range(0, len(ids), _READ_AT_ONCE)]
    return [run for portion in portions for run in read_runs(store, portion)]


def first_position(query: RunQuery, cursor: str | None) -> Position | None:
    """Return the position after which a page begins; None for the beginning.

    Raises:
        UsageError: the cursor is invalid, or the query has no pages.
    """
    if query.sort == "longest" and cursor is not None:
        raise UsageError("sort longest has no pages", hint="use until to look at older runs")
    return read_cursor(cursor)


def read_cursor(cursor: str | None) -> Position | None:
    """Return the position in a cursor.

    Raises:
        UsageError: the cursor is invalid.
    """
    if cursor is None:
        return None
    at, colon, after = cursor.partition(":")
    if not (colon and after and at.isascii() and at.isdigit() and len(at) < 16):
        raise UsageError(f"{cursor!r} is not a cursor", hint="give the one that the page before ended with")
    return Position(int(at), after)
