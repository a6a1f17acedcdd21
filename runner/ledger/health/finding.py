"""The findings of the doctor's checks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from runner._dataclass import dataclass

EXAMPLES = 3
"""The maximum number of ids or names that a finding shows."""


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding of a check. ``what`` describes it, and ``remedy`` says what to do.

    ``count``: the number of faults that a repair would correct; ``examples``: some of them.
    """

    name: str
    level: Level
    what: str
    remedy: str | None = None
    repairable: bool = False
    count: int = 0
    examples: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that ``--json`` prints."""
        return {
            "name": self.name,
            "level": str(self.level),
            "what": self.what,
            "remedy": self.remedy,
            "repairable": self.repairable,
            "count": self.count,
            "examples": list(self.examples),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The doctor's findings; after a repair, the remaining findings and the repairs."""

    findings: tuple[Finding, ...]
    mended: tuple[Finding, ...] = ()

    @property
    def healthy(self) -> bool:
        """Return whether nothing needs attention."""
        return all(finding.level is Level.OK for finding in self.findings)

    @property
    def level(self) -> Level:
        """Return the worst level of all findings."""
        found = {finding.level for finding in self.findings}
        return next(level for level in (Level.PROBLEM, Level.WARNING, Level.OK) if level in found or level is Level.OK)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that ``--json`` prints."""
        return {
            "status": str(self.level),
            "checks": [finding.as_dict() for finding in self.findings],
            "mended": [finding.as_dict() for finding in self.mended],
        }


def named(names: Sequence[str]) -> str:
    """Return the first few of ``names``: ``a, b, c, …``."""
    return ", ".join(names[:EXAMPLES]) + (", …" if len(names) > EXAMPLES else "")


def ok(name: str, what: str) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(name=name, level=Level.OK, what=what)


def warning(name: str, what: str, remedy: str) -> Finding:
    """Return a finding of level warning."""
    return Finding(name=name, level=Level.WARNING, what=what, remedy=remedy)


def problem(name: str, what: str, remedy: str) -> Finding:
    """Return a finding of level problem: runs are lost or cannot start."""
    return Finding(name=name, level=Level.PROBLEM, what=what, remedy=remedy)
