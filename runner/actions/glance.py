"""An overview of a project. The time that it takes does not depend on the number of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.actions.approvals import Approvals, waiting_approvals
from runner.actions.doctor import examine
from runner.actions.upcoming import Upcoming, looked_up, missed, upcoming
from runner.actions.why import why
from runner.errors import UnknownRun
from runner.ledger.fleet import read_workers
from runner.ledger.health.finding import Finding, Level
from runner.ledger.pauses import read_pauses
from runner.ledger.standings import Standing, count_states, longest_running, read_standings
from runner.model.pause import Pause
from runner.model.run import Run, State, to_timestamp
from runner.model.worker import Worker

if TYPE_CHECKING:
    from runner.actions.project import Project

MOST_RUNS = 20
"""The most failed runs, and the most running ones, that the overview names."""
MOST_WAITING = 5
"""The most jobs whose waiting runs are explained. Each of them costs some round trips."""
MOST_SLOTS = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """The waiting runs of a job: their number, the oldest one, and the reason why that waits."""

    job: str
    count: int
    oldest: str
    since: int
    why: str

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "job": self.job,
            "count": self.count,
            "oldest": self.oldest,
            "since": to_timestamp(self.since),
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Glance:
    """A summary of a project as it is now.

    ``failing`` has the last failed runs of enabled jobs whose last outcome is FAILURE, the latest first, and
    ``failing_jobs`` counts those. ``running`` has the runs that were submitted first. ``waiting`` has the jobs whose
    runs wait longest, of ``waiting_jobs``. ``elsewhere`` counts waiting runs of jobs that this project does not
    declare. ``approvals`` has the steps that wait for an approval, those that have waited longest first.
    """

    states: Mapping[State, int]
    failing: Sequence[Run]
    failing_jobs: int
    running: Sequence[Run]
    waiting: Sequence[Waiting]
    waiting_jobs: int
    elsewhere: int
    approvals: Sequence[Approvals]
    following: Sequence[Upcoming]
    workers: Sequence[Worker]
    pauses: Sequence[Pause]
    findings: Sequence[Finding]

    @property
    def waiting_count(self) -> int:
        """The number of runs that wait, for any reason."""
        return self.states[State.PENDING] + self.states[State.RETRY]

    @property
    def approvals_count(self) -> int:
        """The number of step runs that wait for an approval."""
        return sum(approval.count for approval in self.approvals)

    @property
    def healthy(self) -> bool:
        """Whether no job fails, and the doctor finds no problem."""
        return not self.failing_jobs and not self.findings

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "healthy": self.healthy,
            "states": {str(state): count for state, count in self.states.items()},
            "failing": {"count": self.failing_jobs, "runs": [run.document() for run in self.failing]},
            "running": {"count": self.states[State.STARTED], "runs": [run.document() for run in self.running]},
            "waiting": {
                "count": self.waiting_count,
                "jobs": [waiting.document() for waiting in self.waiting],
                "undeclared": self.elsewhere,
            },
            "approvals": {
                "count": self.approvals_count,
                "steps": [step.document() for step in self.approvals],
            },
            "next": [slot.document() for slot in self.following],
            "workers": [worker.document() for worker in self.workers],
            "pauses": [pause.document() for pause in self.pauses],
            "problems": [finding.as_dict() for finding in self.findings],
        }


def glance(project: Project, show: Callable[[str], str] = str) -> Glance:
    """Return a summary of the project as it is now.

    Args:
        project: the project.
        show: formats a time (RFC 3339) for explanations; unchanged by default.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    ledger = project.ledger
    states = count_states(ledger)
    standings = read_standings(ledger, sorted(project.catalog.jobs))
    jobs = project.catalog.jobs
    failed = [
        standing.failed for standing in standings.values() if standing.failed is not None and jobs[standing.job].enabled
    ]
    runs = sorted(ledger.read(failed), key=lambda run: run.finished_at or "", reverse=True)
    ahead = looked_up(ledger, [*missed(project), *islice(upcoming(project, first=True), MOST_SLOTS)][:MOST_SLOTS])
    declared = sum(standing.waiting for standing in standings.values())
    return Glance(
        states=states,
        failing=runs[:MOST_RUNS],
        failing_jobs=len(runs),
        running=ledger.read(longest_running(ledger, MOST_RUNS)),
        waiting=_waiting(project, standings, show),
        waiting_jobs=sum(standing.waiting > 0 for standing in standings.values()),
        elsewhere=max(0, states[State.PENDING] + states[State.RETRY] - declared),
        approvals=waiting_approvals(project),
        following=ahead if project.settings.schedules else [],
        workers=read_workers(ledger),
        pauses=list(read_pauses(ledger).values()),
        # Pauses have a section of their own.
        findings=[
            finding
            for finding in examine(project, quick=True).findings
            if finding.level is not Level.OK and finding.name != "pauses"
        ],
    )


def _waiting(project: Project, standings: Mapping[str, Standing], show: Callable[[str], str]) -> list[Waiting]:
    found = []
    for standing in sorted(standings.values(), key=lambda standing: standing.oldest_at or 0):
        if standing.oldest is None or standing.oldest_at is None:
            continue
        try:
            facts, explanation = why(project, standing.oldest, show)
        except UnknownRun:
            continue
        if not facts.run.final and facts.run.state is not State.STARTED:  # else it went on meanwhile
            found.append(
                Waiting(standing.job, standing.waiting, standing.oldest, standing.oldest_at, explanation.summary)
            )
        if len(found) == MOST_WAITING:
            break
    return found
