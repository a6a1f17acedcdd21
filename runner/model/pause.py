"""A pause of a job: who holds it, since when and until when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.run import to_timestamp

ALL = "*"
"""Stands for all jobs."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of ``job`` (``*``: all): by whom, since when, and until when. Unix times in milliseconds."""

    job: str
    by: str
    since: int
    ends: int | None
    comment: str | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it: ``job``, ``by``, ``since``, ``until`` (RFC 3339 or null), ``comment``."""
        return {
            "job": self.job,
            "by": self.by,
            "since": to_timestamp(self.since),
            "until": to_timestamp(self.ends) if self.ends is not None else None,
            "comment": self.comment,
        }


def paused(pauses: Mapping[str, Pause], job: str) -> Pause | None:
    """Return the pause that holds a job, its own or that of all; None if it goes on."""
    return pauses.get(job) or pauses.get(ALL)
