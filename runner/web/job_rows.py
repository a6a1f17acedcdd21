"""The rows of lists of jobs: recent outcomes, next start, duration, and success rate, in few round trips."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.ledger.pauses import read_pauses
from runner.ledger.reach import reaching
from runner.ledger.standings import Standing, read_standings
from runner.ledger.tally import Tally, tally
from runner.model.pause import Pause, paused
from runner.model.plural import things
from runner.model.run import State
from runner.web.schedule_text import schedule_phrase

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger
    from runner.model.job import JobSpec
    from runner.web.calendar import Calendar, Due
    from runner.web.state import State as WebState

OUTCOMES = 12
"""Recent runs of a job that are shown as squares."""
SAMPLE = 11
"""How many durations are read of each job: the newest, and those that it is compared with."""
LEAST_COMPARED = 3
NOTABLE = 20
"""Percent by which the last run must be slower or faster than usual to be marked."""
LEAST_DIFFERENCE = 0.1
"""Seconds below which a difference is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job in a list. Durations are seconds."""

    job: JobSpec
    state: str
    """The state in its pill: that of its last run, ``failing``, ``paused``, ``disabled``, or ``none``."""
    outcomes: list[str]
    """The states of its recent runs, oldest first."""
    outcomes_text: str
    latest_at: float | None
    """When its newest run was submitted, in Unix ms."""
    schedule: str
    due: Due | None
    took: float | None
    change: int | None
    """By how many percent the last run was slower than usual; negative if it was faster; None if it was as usual."""
    usual: float | None
    success_rate: float | None
    pause: Pause | None
    running: int
    waiting: int

    @property
    def needs_params(self) -> bool:
        """Whether a param is required, so that a button alone cannot submit it."""
        return any(param.required for param in self.job.params.values())


@dataclass(frozen=True, slots=True)
class Standings:
    """The standing and the pauses of all jobs, by which lists sort and filter them."""

    jobs: Mapping[str, JobSpec]
    by_job: Mapping[str, Standing]
    pauses: Mapping[str, Pause]

    @classmethod
    def read(cls, state: WebState) -> Standings:
        """Read the standing of all declared jobs.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        ledger, jobs = state.project.ledger, state.catalog.jobs
        # Before the script, which would start an embedded server that somebody has stopped.
        pauses = read_pauses(ledger)
        return cls(jobs, read_standings(ledger, sorted(jobs)), pauses)

    def failing(self, name: str) -> bool:
        """Whether the last run of an enabled job that ended with success or failure was a failure."""
        return self.jobs[name].enabled and self.by_job[name].failed is not None

    def paused(self, name: str) -> bool:
        """Whether a job is paused by itself, or all jobs are."""
        return paused(self.pauses, name) is not None

    def ordered(self, names: Sequence[str]) -> list[str]:
        """Return names sorted: failing jobs, then paused ones, then the others by name."""
        return sorted(names, key=lambda name: (not self.failing(name), not self.paused(name), name))

    def state(self, name: str) -> str:
        """Return the state in the pill of a job."""
        found = self.by_job[name]
        if not self.jobs[name].enabled:
            return "disabled"
        if self.paused(name):
            return "paused"
        if found.running:
            return str(State.STARTED)
        if found.failed is not None:
            return "failing"
        if found.last is None:
            return str(State.PENDING) if found.waiting else "none"
        return str(found.last.state)


FILTERS: Mapping[str, tuple[str, Callable[[Standings, str], bool]]] = {
    "failing": ("Failing", Standings.failing),
    "running": ("Running", lambda all_jobs, name: all_jobs.by_job[name].running > 0),
    "paused": ("Paused", Standings.paused),
    "scheduled": ("Scheduled", lambda all_jobs, name: bool(all_jobs.jobs[name].schedule)),
    "disabled": ("Disabled", lambda all_jobs, name: not all_jobs.jobs[name].enabled),
}
"""The filters of the list of jobs, by their value in the query string: the label of the chip, and the test."""


def read_rows(ledger: Ledger, standings: Standings, names: Sequence[str], calendar: Calendar) -> list[JobRow]:
    """Return the rows of the jobs ``names``, which are to be few, in that order.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    recent, tallies = _recent(ledger, names), tally(ledger, names, [0], SAMPLE)
    now = datetime.now(UTC)
    return [
        _row(standings, name, recent[name], figures, calendar, now)
        for name, figures in zip(names, tallies, strict=True)
    ]


def _row(
    standings: Standings, name: str, recent: list[tuple[float, str]], figures: Tally, calendar: Calendar, now: datetime
) -> JobRow:
    job, standing = standings.jobs[name], standings.by_job[name]
    took, usual, change = compare(figures.durations)
    ended = [figures.counts[state] for state in (State.SUCCESS, State.FAILURE)]
    outcomes = [state for _, state in reversed(recent)]
    return JobRow(
        job=job,
        state=standings.state(name),
        outcomes=outcomes,
        outcomes_text=outcomes_text(outcomes),
        latest_at=recent[0][0] if recent else None,
        schedule=schedule_phrase(job.schedule, calendar.zone.key),
        due=calendar.next_of(name, now),
        took=took,
        change=change,
        usual=usual,
        success_rate=ended[0] / sum(ended) if sum(ended) else None,
        pause=paused(standings.pauses, name),
        running=standing.running,
        waiting=standing.waiting,
    )


def compare(durations: Sequence[float]) -> tuple[float | None, float | None, int | None]:
    """Return the newest of ``durations``, the median of the others, and the notable change between the two in percent.

    Args:
        durations: seconds, the newest first.
    """
    if not durations:
        return None, None, None
    newest, *others = durations
    if len(others) < LEAST_COMPARED:
        return newest, None, None
    usual = statistics.median(others)
    change = round((newest / usual - 1) * 100) if abs(newest - usual) >= LEAST_DIFFERENCE and usual > 0 else 0
    return newest, usual, change if abs(change) >= NOTABLE else None


_OUTCOME_NAMES = {"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "revoked", "STARTED": "running",
                  "RETRY": "to be retried", "PENDING": "waiting"}  # fmt: skip


def outcomes_text(states: Sequence[str]) -> str:
    """Return a text alternative for a row of squares."""
    counts = Counter(states)
    parts = [f"{counts[state]} {name}" for state, name in _OUTCOME_NAMES.items() if counts[state]]
    if not parts:
        return "No runs"
    return f"Last {things(len(states), 'run')}: {', '.join(parts)}"


def _recent(ledger: Ledger, names: Sequence[str]) -> dict[str, list[tuple[float, str]]]:
    """Return the submission (Unix ms) and the state of each job's newest runs, newest first."""
    states = list(State)
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for name in names:
            for state in states:
                pipe.zrange(ledger.keys.job(name, state), 0, OUTCOMES - 1, desc=True, withscores=True)
        found = iter(pipe.execute())
    return {
        name: sorted(((at, str(state)) for state in states for _, at in next(found)), reverse=True)[:OUTCOMES]
        for name in names
    }
