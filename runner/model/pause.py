"""A pause of a job, or of all jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.run import to_timestamp

ALL = "*"
"""The name that means all jobs."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of ``job``, or of all jobs (``*``). Times are Unix times in milliseconds."""

    job: str
    by: str
    since: int
    ends: int | None
    comment: str | None

    def document(self) -> dict[str, Any]:
        """Return the pause as JSON: ``job``, ``by``, ``since``, ``until`` (RFC 3339 or null), and ``comment``."""
        return {
            "job": self.job,
            "by": self.by,
            "since": to_timestamp(self.since),
            "until": to_timestamp(self.ends) if self.ends is not None else None,
            "comment": self.comment,
        }


def paused(pauses: Mapping[str, Pause], job: str) -> Pause | None:
    """Return the pause of a job or of all jobs; None if the job is not paused."""
    return pauses.get(job) or pauses.get(ALL)
