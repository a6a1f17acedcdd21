"""The approvals that wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.ledger.standings import read_standings
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.actions.project import Project


@dataclass(frozen=True, slots=True)
class Approvals:
    """The waiting step runs of an approval step: their number, and the oldest one."""

    job: str
    count: int
    oldest: str
    since: int

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {"job": self.job, "count": self.count, "oldest": self.oldest, "since": to_timestamp(self.since)}


def waiting_approvals(project: Project) -> list[Approvals]:
    """Return the approval steps with waiting runs, longest wait first.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    names = list(project.catalog.jobs.with_option("approval"))
    found = [
        Approvals(standing.job, standing.waiting, standing.oldest, standing.oldest_at)
        for standing in read_standings(project.ledger, names).values()
        if standing.oldest is not None and standing.oldest_at is not None
    ]
    return sorted(found, key=lambda approvals: approvals.since)
