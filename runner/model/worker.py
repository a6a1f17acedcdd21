"""A worker, as it last told the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from runner._dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """The problems that a worker has with files of jobs; ``first`` has some of them."""

    count: int
    first: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker, by what it last told.

    ``running`` counts the runs that it performs now, ``jobs`` those that it knows. ``catalog`` is the digest of them
    all, None until it is told. ``kept`` names files with problems, of which an earlier state is in force. Times are RFC
    3339 in UTC with milliseconds, by Redis' clock. One that is lost went without a word.
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
        """Whether it went without a word."""
        return self.state == "lost"

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)
