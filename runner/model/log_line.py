"""A line of a run's log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.model.run import to_timestamp


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, or one record of Python's ``logging``, whose text may have several lines.

    ``at`` is a Unix time in milliseconds. ``level`` is that of ``logging`` (``INFO``, ``ERROR``, …), or None for what
    was written to standard output or standard error. ``cut`` counts lines that are not kept; ``text`` says so then.
    """

    at: int
    attempt: int
    level: str | None
    text: str
    cut: int = 0

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it: ``at`` (RFC 3339), ``attempt``, ``level``, ``text``, ``cut``."""
        return {
            "at": to_timestamp(self.at),
            "attempt": self.attempt,
            "level": self.level,
            "text": self.text,
            "cut": self.cut,
        }
