"""Merge lists of runs from several sources into one page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from runner._dataclass import dataclass
from runner.model.run import Run, to_datetime


class Position(NamedTuple):
    """The position of a run in a list: the time of its submission (Unix ms), then its id."""

    at: int
    id: str


@dataclass(frozen=True, slots=True)
class Part:
    """The runs of one source after a cursor, in the order of the list.

    ``end`` is the position of the last run that the source looked at; None if there are no more. ``cut``: the source
    stopped because it had looked at enough runs, not because it had found enough.
    """

    runs: Sequence[Run]
    end: Position | None
    looked_at: int = 0
    cut: bool = False


class Merged(NamedTuple):
    """The runs of a page, and the position at which the next page begins; None if there is none."""

    runs: list[Run]
    end: Position | None
    cut: bool


def merge(parts: Sequence[Part], *, limit: int, newest: bool) -> Merged:
    """Return the first ``limit`` runs of all parts in order, without duplicates; for equal ids, the first part wins.

    Runs beyond the end of any part are left out, because that part may have other runs that come first.
    """
    ends = [part.end for part in parts if part.end is not None]
    horizon = (max(ends) if newest else min(ends)) if ends else None
    found: dict[str, tuple[Position, Run]] = {}
    for part in parts:
        for position, run in _with_positions(part):
            if horizon is None or (position >= horizon if newest else position <= horizon):
                found.setdefault(run.id, (position, run))
    ordered = sorted(found.values(), key=lambda item: item[0], reverse=newest)
    if len(ordered) > limit:
        return Merged([run for _, run in ordered[:limit]], ordered[limit - 1][0], False)
    short = len(ordered) < limit and horizon is not None
    return Merged([run for _, run in ordered], horizon, short and any(part.cut for part in parts))


def longest(parts: Sequence[Part], *, limit: int) -> Merged:
    """Return the runs of all parts that took longest, without duplicates."""
    runs = list({run.id: run for part in reversed(parts) for run in part.runs}.values())
    return Merged(sorted(runs, key=seconds_of, reverse=True)[:limit], None, any(part.cut for part in parts))


def seconds_of(run: Run) -> float:
    """Return the seconds since the last start of a run until its end; -1 if it has not ended."""
    if run.started_at is None or run.finished_at is None:
        return -1.0
    return (to_datetime(run.finished_at) - to_datetime(run.started_at)).total_seconds()


def position_of(run: Run) -> Position | None:
    """Return the position of a run; None if its record does not say when it was submitted."""
    if run.submitted_at is None:
        return None
    return Position(round(to_datetime(run.submitted_at).timestamp() * 1000), run.id)


def _with_positions(part: Part) -> list[tuple[Position, Run]]:
    """Return the runs with their positions. A run whose record is damaged has the position of its neighbor."""
    positions = [position_of(run) for run in part.runs]
    known = next((position for position in positions if position is not None), part.end)
    found = []
    for position, run in zip(positions, part.runs, strict=True):
        known = position or known or Position(0, run.id)
        found.append((known, run))
    return found
