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
    In the log of a flow, ``step`` is the name of the step run that wrote it, such as ``load[3]``, and ``run`` its id.
    """

    at: int
    attempt: int
    level: str | None
    text: str
    cut: int = 0
    step: str | None = None
    run: str | None = None

    def labeled(self) -> str:
        """Return the text, behind the name of the step that wrote it."""
        return self.text if self.step is None else f"{self.step} | {self.text}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it, with ``at`` in RFC 3339."""
        return {
            "at": to_timestamp(self.at),
            "attempt": self.attempt,
            "level": self.level,
            "text": self.text,
            "cut": self.cut,
            "step": self.step,
            "run": self.run,
        }
