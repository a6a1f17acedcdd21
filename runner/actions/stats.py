"""Figures of jobs: numbers of runs, success rates, waits, and durations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.actions.find import require_known
from runner.actions.tallies import tallies
from runner.ledger.tally import Tally
from runner.model.run import State, to_timestamp

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.model.job import JobSpec

DAYS = 14
SAMPLE = 250
"""The maximum number of runs of a job whose times are read; fewer with many jobs."""
_SAMPLES = 2_000
_LEAST = 10


@dataclass(frozen=True, slots=True)
class Stats:
    """The figures of a job. Rates are 0 to 1, times are in seconds; None means unknown."""

    tally: Tally
    dates: Sequence[str]
    """The days of ``tally.days``, as YYYY-MM-DD in the project's zone, oldest first."""
    step: str | None = None
    """The name of the step, if these are the figures of a step."""
    steps: Sequence[Stats] = ()
    """The figures of the steps of a flow, if requested."""

    @property
    def runs(self) -> int:
        """Return the number of kept runs."""
        return sum(self.tally.counts.values())

    @property
    def active(self) -> int:
        """Return the number of runs that have not ended."""
        return sum(self.tally.counts[state] for state in (State.PENDING, State.STARTED, State.RETRY))

    @property
    def success_rate(self) -> float | None:
        """Return the share of SUCCESS among SUCCESS and FAILURE."""
        good, bad = self.tally.counts[State.SUCCESS], self.tally.counts[State.FAILURE]
        return good / (good + bad) if good + bad else None

    def wait(self, share: float) -> float | None:
        """Return the percentile ``share`` of the waits of sampled runs."""
        return percentile(self.tally.waits, share)

    def duration(self, share: float) -> float | None:
        """Return the percentile ``share`` of the durations of sampled runs."""
        return percentile(self.tally.durations, share)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        figures = self._figures()
        if self.step is not None:
            return {"step": self.step, **figures}
        return {**figures, "steps": [step.document() for step in self.steps]}

    def _figures(self) -> dict[str, Any]:
        return {
            "job": self.tally.job,
            "runs": self.runs,
            "states": {str(state): count for state, count in self.tally.counts.items()},
            "success_rate": self.success_rate,
            "last_success": to_timestamp(self.tally.last_success),
            "wait_seconds": {"p50": self.wait(0.5), "p95": self.wait(0.95)},
            "run_seconds": {"p50": self.duration(0.5), "p95": self.duration(0.95)},
            "sampled": len(self.tally.durations),
            "days": [
                {"day": date, "success": day.success, "failure": day.failure, "revoked": day.revoked}
                for date, day in zip(self.dates, self.tally.days, strict=True)
            ],
        }


def stats(
    project: Project, job: str | None = None, *, archived: bool = False, now: datetime | None = None
) -> list[Stats]:
    """Return the figures of a job (for a flow, also of its steps), or of all jobs of the project by name.

    Args:
        project: the project.
        job: the name of the job.
        archived: count only the runs in the archive.
        now: an aware time; the present by default.

    Raises:
        UnknownJob: the job does not exist and has no runs.
        Unavailable: Redis cannot be reached.
    """
    jobs = [job] if job is not None else sorted(project.catalog.jobs)
    dates, bounds = last_days(project.settings.timezone, DAYS, now)
    counted = tallies(project, jobs, bounds, sample_of(len(jobs)), archived=archived)
    found = [Stats(tally, dates) for tally in counted]
    if job is not None and not found[0].runs:
        require_known(project, job)  # a mistyped name has no figures
    if job is not None and (declared := project.catalog.jobs.get(job)) is not None and declared.is_flow:
        found = [replace(found[0], steps=_steps(project, declared, dates, bounds, archived=archived))]
    return found


def _steps(
    project: Project, flow: JobSpec, dates: Sequence[str], bounds: Sequence[int], *, archived: bool
) -> list[Stats]:
    """Return the figures of the steps of a flow. A step with ``job`` counts the runs of all flows that use the job."""
    named = {name: step.job for name, step in flow.steps.items() if step.job is not None}
    own = [name for name in flow.steps if name not in named]
    jobs = sorted(set(named.values()))
    sample = sample_of(len(own) + len(jobs))
    alone = [f"{flow.name}/{name}" for name in own]
    of_steps = dict(zip(own, tallies(project, alone, bounds, sample, archived=archived), strict=True))
    of_jobs = tallies(project, jobs, bounds, sample, as_steps=True, archived=archived)
    shared = dict(zip(jobs, of_jobs, strict=True))
    return [Stats(shared[named[name]] if name in named else of_steps[name], dates, step=name) for name in flow.steps]


def sample_of(jobs: int) -> int:
    """Return the number of runs to read per job for ``jobs`` jobs."""
    return max(_LEAST, min(SAMPLE, _SAMPLES // max(1, jobs)))


def last_days(zone: str, count: int, now: datetime | None = None) -> tuple[list[str], list[int]]:
    """Return the last days as dates, oldest first, and their beginnings followed by the end of today (Unix ms).

    Args:
        zone: the time zone of the days. Days with DST changes have 23 or 25 hours.
        count: the number of days, including today.
        now: an aware time; the present by default.
    """
    here = ZoneInfo(zone)
    today = (now or datetime.now(here)).astimezone(here).date()
    dates = [today - timedelta(days=back) for back in range(count - 1, -2, -1)]
    begins = [datetime(date.year, date.month, date.day, tzinfo=here) for date in dates]
    return [str(date) for date in dates[:-1]], [round(begin.timestamp() * 1000) for begin in begins]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the percentile ``share`` of ``values`` (nearest rank); None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
