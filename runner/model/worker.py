"""A worker, as it last reported to the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from runner._dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """The problems of job files in a worker; ``first`` has the first few."""

    count: int
    first: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker, by its last report.

    ``running`` is the number of runs that it performs now, and ``jobs`` the number of its jobs. ``catalog`` is the
    digest of its jobs, None until it has reported it. ``kept``: the job files that have problems
    now, so that the worker still uses their previous jobs.
    Times are RFC 3339 in UTC with milliseconds, by the clock of Redis. A lost worker ended without reporting it.
    """

    name: str
    state: Literal["running", "stopping", "lost"]
    host: str
    pid: int
    pool: str
    version: str | None
    queues: list[str]
    concurrency: int
    running: int
    jobs: int
    catalog: str | None
    catalog_since: str
    problems: Problems
    kept: list[str]
    started_at: str
    seen_at: str

    @property
    def lost(self) -> bool:
        """Whether the worker ended without reporting it."""
        return self.state == "lost"

    def document(self) -> dict[str, Any]:
        """Return the worker as JSON."""
        return asdict(self)
