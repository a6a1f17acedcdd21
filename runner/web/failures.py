"""Failed runs, grouped by job and error, so that one cause fills one line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runner._dataclass import dataclass
from runner.model.run import Run
from runner.web.moments import last_line

_VARIES = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|\d+", re.IGNORECASE)
"""What differs between two occurrences of one error: numbers, addresses, ids."""


@dataclass(slots=True)
class Failures:
    """Failures of a job with one error: the newest of them, its last line, and how many there are."""

    job: str
    line: str
    newest: Run
    count: int = 0


def group_failures(runs: Iterable[Run]) -> list[Failures]:
    """Return the groups of failed runs, that with the newest failure first."""
    groups: dict[tuple[str, str, str], Failures] = {}
    for run in sorted(runs, key=lambda run: run.finished_at or run.submitted_at or "", reverse=True):
        line = failure_line(run)
        error = str(run.error["type"]) if run.error else run.reason or ""
        key = (run.job, error, _VARIES.sub("#", line))
        groups.setdefault(key, Failures(run.job, line, run)).count += 1
    return list(groups.values())


def failure_line(run: Run) -> str:
    """Return the line that says most about the failure of a run."""
    if run.error:
        return last_line(run.error)
    return run.detail or (run.reason or "").replace("_", " ")
