"""Read and follow the log of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from runner.ledger.run_log import RunLog
from runner.model.log_line import LogLine

if TYPE_CHECKING:
    from runner.actions.project import Project


def read_log(
    project: Project,
    run_id: str,
    *,
    follow: bool = False,
    attempt: int | None = None,
    since: float | None = None,
    tail: int | None = None,
) -> Iterator[LogLine]:
    """Yield the lines of a run's log, oldest first.

    Args:
        project: where the run belongs.
        run_id: its full id.
        follow: go on with what comes, until the run has ended.
        attempt: only of this one, counted from 1.
        since: only what was written at or after this Unix time in seconds.
        tail: how many of the last recorded lines to show first.

    Raises:
        UnknownRun: there is no such run.
        Unavailable: Redis cannot be reached.
    """

    def wanted(lines: Iterable[LogLine]) -> Iterator[LogLine]:
        for line in lines:
            if (attempt is None or line.attempt == attempt) and (since is None or line.at >= since * 1000):
                yield line

    log = RunLog(project.ledger, run_id)
    if tail is not None:
        yield from deque(wanted(log.lines()), maxlen=tail)
    if follow:
        yield from wanted(log.follow())
    elif tail is None:
        yield from wanted(log.lines())


def last_lines(project: Project, run_id: str, count: int) -> list[LogLine]:
    """Return the last lines of the last attempt that wrote any."""
    return RunLog(project.ledger, run_id).tail(count)
