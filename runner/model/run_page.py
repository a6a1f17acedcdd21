"""Merge lists of runs that come from more than one place into one page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from runner._dataclass import dataclass
from runner.model.run import Run, to_datetime


class Place(NamedTuple):
    """Where a run stands in all lists: by submission (Unix ms), then by id."""

    at: int
    id: str


@dataclass(frozen=True, slots=True)
class Part:
    """The runs that one place has after a cursor, in the order of the list.

    ``end`` is the last run that was looked at; None: there are no more. ``cut`` tells that the place stopped because it
    had looked at enough runs, not because it had found enough.
    """

    runs: Sequence[Run]
    end: Place | None
    looked_at: int = 0
    cut: bool = False


class Merged(NamedTuple):
    """The runs of a page, and where the next page begins; None: there is none."""

    runs: list[Run]
    end: Place | None
    cut: bool


def merge(parts: Sequence[Part], *, limit: int, newest: bool) -> Merged:
    """Return the first ``limit`` runs of all parts in order, each once; of two with one id, that of the first part.

    A run counts only as far as every part has been looked through: behind that, a part may have others that come first.
    """
    ends = [part.end for part in parts if part.end is not None]
    horizon = (max(ends) if newest else min(ends)) if ends else None
    placed: dict[str, tuple[Place, Run]] = {}
    for part in parts:
        for place, run in _placed(part):
            if horizon is None or (place >= horizon if newest else place <= horizon):
                placed.setdefault(run.id, (place, run))
    ordered = sorted(placed.values(), key=lambda each: each[0], reverse=newest)
    if len(ordered) > limit:
        return Merged([run for _, run in ordered[:limit]], ordered[limit - 1][0], False)
    short = len(ordered) < limit and horizon is not None
    return Merged([run for _, run in ordered], horizon, short and any(part.cut for part in parts))


def longest(parts: Sequence[Part], *, limit: int) -> Merged:
    """Return the runs of all parts that took longest, each once."""
    runs = list({run.id: run for part in reversed(parts) for run in part.runs}.values())
    return Merged(sorted(runs, key=seconds_of, reverse=True)[:limit], None, any(part.cut for part in parts))


def seconds_of(run: Run) -> float:
    """Return how long a run took since its last start; less than nothing if it has not ended."""
    if run.started_at is None or run.finished_at is None:
        return -1.0
    return (to_datetime(run.finished_at) - to_datetime(run.started_at)).total_seconds()


def place_of(run: Run) -> Place | None:
    """Return the place of a run; None if its record does not tell when it was submitted."""
    if run.submitted_at is None:
        return None
    return Place(round(to_datetime(run.submitted_at).timestamp() * 1000), run.id)


def _placed(part: Part) -> list[tuple[Place, Run]]:
    """Return the runs with their places. A run whose record is damaged stands where its neighbor does."""
    places = [place_of(run) for run in part.runs]
    known = next((place for place in places if place is not None), part.end)
    found = []
    for place, run in zip(places, part.runs, strict=True):
        known = place or known or Place(0, run.id)
        found.append((known, run))
    return found
