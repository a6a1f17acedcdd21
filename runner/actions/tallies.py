"""Count the runs of jobs and read recent durations, from the ledger and the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.ledger.tally import STATES, Day, Tally, oldest_kept, tally
from runner.model.run import State
from runner.model.run_page import Position

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.archive.figures import Figures
    from runner.archive.reader import Reader


def tallies(
    project: Project,
    jobs: Sequence[str],
    days: Sequence[int],
    sample: int,
    *,
    as_steps: bool = False,
    archived: bool = False,
) -> list[Tally]:
    """Return the tallies of jobs from the ledger and the archive, like :func:`runner.ledger.tally.tally`.

    The archive counts the runs that were submitted before the oldest finished run of the job in the ledger, so no run
    counts twice.

    Raises:
        Unavailable: Redis cannot be reached.
        ArchiveUnavailable: the archive cannot be reached, and only the archive is read.
    """
    records = project.reading(archived=archived)
    if archived:
        found = [_none(job, len(days) - 1) for job in jobs]
        before: list[Position | None] = [None] * len(jobs)
    else:
        found = tally(project.ledger, jobs, days, sample, as_steps=as_steps)
        if not project.behind.exists:
            return found
        before = oldest_kept(project.ledger, jobs, as_steps=as_steps)
    limits = dict(zip(jobs, before, strict=True))
    lacking = {
        job_tally.job: sample - len(job_tally.durations) for job_tally in found if len(job_tally.durations) < sample
    }

    def ask(reader: Reader) -> dict[str, Figures]:
        from runner.archive.figures import figures  # an extra: it imports SQLAlchemy

        return figures(reader, limits, days, lacking, as_steps=as_steps)

    older = records.ask(ask) or {}
    return [_add(job_tally, older[job_tally.job]) if job_tally.job in older else job_tally for job_tally in found]


def _none(job: str, days: int) -> Tally:
    return Tally(job, dict.fromkeys(STATES, 0), None, [Day(0, 0, 0)] * days, [], [])


def _add(newer: Tally, older: Figures) -> Tally:
    return replace(
        newer,
        counts={state: count + older.counts.get(state, 0) for state, count in newer.counts.items()},
        last_success=newer.last_success or older.last_success,
        days=[
            Day(*(count + more.get(state, 0) for count, state in zip(day, _OF_DAY, strict=True)))
            for day, more in zip(newer.days, older.days, strict=True)
        ],
        waits=[*newer.waits, *(waited for waited, _ in older.times if waited is not None)],
        durations=[*newer.durations, *(ran for _, ran in older.times)],
    )


_OF_DAY = (State.SUCCESS, State.FAILURE, State.REVOKED)
