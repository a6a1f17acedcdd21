"""Read and follow the log of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from runner.actions.archived_log import ArchivedLog
from runner.errors import UsageError
from runner.ledger import flow_log
from runner.ledger.flow_log import FlowLog, everything
from runner.ledger.run_log import RunLog
from runner.model.log_line import LogLine
from runner.model.option import did_you_mean
from runner.model.run import Run, State
from runner.model.run_query import RunQuery

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
    step: str | None = None,
    archived: bool = False,
) -> Iterator[LogLine]:
    """Yield the lines of a run's log, oldest first; of a flow those of its step runs. The archive has the end of a log.

    Args:
        project: where the run belongs.
        run_id: its full id.
        follow: go on with what comes, until the run has ended.
        attempt: only of this one, counted from 1.
        since: only what was written at or after this Unix time in seconds.
        tail: how many of the last recorded lines to show first.
        step: only of this step of a flow, or of one of its items, such as ``load[3]``.
        archived: read only the archive.

    Raises:
        UnknownRun: there is no such run.
        UsageError: it has no such step.
        Unavailable: Redis cannot be reached.
    """

    def wanted(lines: Iterable[LogLine]) -> Iterator[LogLine]:
        for line in lines:
            if (attempt is None or line.attempt == attempt) and (since is None or line.at >= since * 1000):
                yield line

    run = project.reading(archived=archived).get(run_id)
    log = log_of(project, run, _wanted(run, step) if step is not None else everything)
    if tail is not None:
        yield from deque(wanted(log.lines()), maxlen=tail)
    if follow:
        yield from wanted(log.follow())
    elif tail is None:
        yield from wanted(log.lines())


def log_of(
    project: Project, run: Run, wanted: Callable[[str], bool] = everything, *, after: str | None = None
) -> RunLog | FlowLog | ArchivedLog:
    """Return the log of a run.

    Args:
        project: where the run belongs.
        run: as it was read.
        wanted: is asked of the names of a flow's step runs, such as ``load[3]``.
        after: read what follows this chunk of a log in the ledger.
    """
    if run.archived:
        return ArchivedLog(project.reading(archived=True), run, wanted)
    if run.steps is not None:
        return FlowLog(project.ledger, run.id, wanted)
    return RunLog(project.ledger, run.id, after=after)


def last_lines(project: Project, run: Run, count: int) -> list[LogLine]:
    """Return the last lines of the last attempt; of a flow those of the first of its step runs that failed.

    Raises:
        Unavailable, ArchiveUnavailable: Redis, or the archive, cannot be reached.
    """
    if not run.archived:
        return flow_log.last_lines(project.ledger, run, count)
    if run.steps is None:
        lines = list(deque(log_of(project, run).lines(), maxlen=count))
        return [line for line in lines if line.attempt == lines[-1].attempt]
    if not any(each["state"] == State.FAILURE for each in run.steps):
        return []
    query = RunQuery(flow=run.id, state=[State.FAILURE], sort="oldest", archived=True)
    failed = project.records.page(query, limit=1).runs
    return [flow_log.below(each, line) for each in failed for line in last_lines(project, each, count)]


def _wanted(run: Run, step: str) -> Callable[[str], bool]:
    """Return a test for names of step runs: whether one is ``step``, an item of it, or within it.

    Raises:
        UsageError: the run is not a flow, or has no such step.
    """
    if run.steps is None:
        raise UsageError(f"run {run.id} of {run.job} is not a flow", hint="leave the step away")
    names = [str(each["name"]) for each in run.steps]
    first = step.partition("/")[0].partition("[")[0]
    if first not in names:
        raise UsageError(
            f"{run.job} has no step {first!r}{did_you_mean(first, names)}", hint=f"its steps: {', '.join(names)}"
        )
    return lambda name: name == step or name.startswith((f"{step}[", f"{step}/"))
