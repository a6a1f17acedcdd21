"""Count the archived runs of jobs, and read the durations of the newest ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import CTE, ColumnElement, Select, Text, case, column, func, select, tuple_, values

from runner.archive.reader import LATEST, Reader, milliseconds, moment
from runner.archive.schema import RUNS, UtcTime
from runner.model.run import State
from runner.model.run_page import Position

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_PORTION = 100
"""The maximum number of jobs in one statement."""
_TIMED = (State.SUCCESS, State.FAILURE)


@dataclass(slots=True)
class Figures:
    """Figures about the archived runs of a job.

    ``days``: the numbers of runs in SUCCESS, FAILURE, and REVOKED for each day. ``times``: for the newest runs in
    SUCCESS or FAILURE, the seconds that each waited (None if unknown) and ran. ``last_success`` is in Unix ms.
    """

    counts: dict[State, int] = field(default_factory=dict)
    days: list[dict[State, int]] = field(default_factory=list)
    times: list[tuple[float | None, float]] = field(default_factory=list)
    last_success: int | None = None


def figures(
    reader: Reader,
    before: Mapping[str, Position | None],
    days: Sequence[int],
    samples: Mapping[str, int],
    *,
    as_steps: bool = False,
) -> dict[str, Figures]:
    """Return the figures of jobs.

    Args:
        reader: the reader of the archive.
        before: for each job, the run (in order of submission) before which runs count; None: all runs count.
        days: the beginnings of the days, and the end of the last one (Unix ms).
        samples: by job, the number of newest runs to read.
        as_steps: count step runs of flows instead of other runs.

    Raises:
        ArchiveUnavailable: the database cannot be reached.
    """

    def read(connection: Connection) -> dict[str, Figures]:
        found = {job: Figures(days=[{} for _ in days[1:]]) for job in before}
        for of_steps, jobs in _portions(before, as_steps):
            limits = _limits({job: before[job] for job in jobs})
            mine = _counted(reader, limits, of_steps)
            for row in connection.execute(mine.with_only_columns(RUNS.c.job, RUNS.c.state, func.count().label("runs"))):
                found[row.job].counts[State(row.state)] = row.runs
            day = case(*((RUNS.c.submitted_at < moment(end), index) for index, end in enumerate(days[1:]))).label("day")
            recent = mine.where(RUNS.c.submitted_at >= moment(days[0]), RUNS.c.submitted_at < moment(days[-1]))
            columns = (RUNS.c.job, RUNS.c.state, day, func.count().label("runs"))
            for row in connection.execute(recent.with_only_columns(*columns).group_by(day)):
                found[row.job].days[row.day][State(row.state)] = row.runs
        for job, sample in samples.items():
            if any(found[job].counts.get(state) for state in _TIMED):
                for row in _newest(connection, reader, job, before[job], sample, _of_steps(job, as_steps)):
                    _add(found[job], row)
        return found

    return reader.ask(read) or {}


def _of_steps(job: str, as_steps: bool) -> bool:
    # Only steps have names such as ``nightly/load``.
    return as_steps or "/" in job


def _portions(jobs: Iterable[str], as_steps: bool) -> Iterator[tuple[bool, list[str]]]:
    """Yield jobs in batches of either step runs or other runs, because these are in different indexes."""
    for of_steps in (False, True):
        those = [job for job in jobs if _of_steps(job, as_steps) == of_steps]
        for first in range(0, len(those), _PORTION):
            yield of_steps, those[first : first + _PORTION]


def _limits(before: Mapping[str, Position | None]) -> CTE:
    """Return a table of jobs with the time and id of the run before which runs count."""
    table = values(column("job", Text), column("at", UtcTime), column("id", Text), name="limits")
    last = Position(LATEST, "")
    return table.data(
        [(job, moment((position or last).at), (position or last).id) for job, position in before.items()]
    ).cte()


def _counted(reader: Reader, limits: CTE, of_steps: bool) -> Select[Any]:
    """Return the query for the numbers of runs by job and state."""
    within = tuple_(RUNS.c.submitted_at, RUNS.c.id) < tuple_(limits.c.at, limits.c.id)
    mine = select(RUNS.c.job).join(limits, (RUNS.c.job == limits.c.job) & within)
    return mine.where(reader.mine, _kind(of_steps)).group_by(RUNS.c.job, RUNS.c.state)


def _kind(of_steps: bool) -> ColumnElement[bool]:
    return RUNS.c.flow.is_not(None) if of_steps else RUNS.c.flow.is_(None)


def _newest(
    connection: Connection, reader: Reader, job: str, before: Position | None, sample: int, of_steps: bool
) -> list[Any]:
    """Return the newest runs of a job that have a duration, newest first."""
    columns = (RUNS.c.state, RUNS.c.submitted_at, RUNS.c.eta, RUNS.c.started_at, RUNS.c.finished_at, RUNS.c.attempts)
    last = before or Position(LATEST, "")
    there: Any = (moment(last.at), last.id)
    chosen = (
        select(*columns)
        .where(reader.mine, RUNS.c.job == job, _kind(of_steps))
        .where(tuple_(RUNS.c.submitted_at, RUNS.c.id) < there)
        .order_by(RUNS.c.submitted_at.desc(), RUNS.c.id.desc())
        .limit(sample)
    )
    rows = [row for state in _TIMED for row in connection.execute(chosen.where(RUNS.c.state == str(state)))]
    return sorted(rows, key=lambda row: row.submitted_at, reverse=True)[:sample]


def _add(found: Figures, row: Any) -> None:
    if row.state == State.SUCCESS:
        found.last_success = max(found.last_success or 0, milliseconds(row.finished_at))
    if row.started_at is None:
        return
    begin = row.submitted_at if row.eta is None else max(row.submitted_at, row.eta)
    # The start of a later attempt does not tell how long the run waited for its first one.
    waited = max(0.0, (row.started_at - begin).total_seconds()) if row.attempts == 1 else None
    found.times.append((waited, max(0.0, (row.finished_at - row.started_at).total_seconds())))
