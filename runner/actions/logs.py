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
    """Yield the lines of a run's log, oldest first; for a flow, those of its step runs. The archive has the end of a
    log.

    Args:
        project: the project of the run.
        run_id: the full id of the run.
        follow: go on with new lines until the run has ended.
        attempt: only lines of this attempt, counted from 1.
        since: only lines at or after this Unix time (seconds).
        tail: the number of last recorded lines to begin with.
        step: only lines of this step of a flow, or of one of its items, such as ``load[3]``.
        archived: read only the archive.

    Raises:
        UnknownRun: the run does not exist.
        UsageError: the flow has no such step.
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
        project: the project of the run.
        run: the run.
        wanted: decides about the names of a flow's step runs, such as ``load[3]``.
        after: the chunk of the log in the ledger after which to begin.
    """
    if run.archived:
        return ArchivedLog(project.reading(archived=True), run, wanted)
    if run.steps is not None:
        return FlowLog(project.ledger, run.id, wanted)
    return RunLog(project.ledger, run.id, after=after)


def last_lines(project: Project, run: Run, count: int) -> list[LogLine]:
    """Return the last lines of the last attempt; for a flow, those of its first failed step run.

    Raises:
        Unavailable, ArchiveUnavailable: Redis, or the archive, cannot be reached.
    """
    if not run.archived:
        return flow_log.last_lines(project.ledger, run, count)
    if run.steps is None:
        lines = list(deque(log_of(project, run).lines(), maxlen=count))
        return [line for line in lines if line.attempt == lines[-1].attempt]
    if not any(step["state"] == State.FAILURE for step in run.steps):
        return []
    query = RunQuery(flow=run.id, state=[State.FAILURE], sort="oldest", archived=True)
    failed = project.records.page(query, limit=1).runs
    return [flow_log.below(step_run, line) for step_run in failed for line in last_lines(project, step_run, count)]


def _wanted(run: Run, step: str) -> Callable[[str], bool]:
    """Return a predicate for names of step runs: whether one is ``step``, one of its items, or below it.

    Raises:
        UsageError: the run is not a flow, or has no such step.
    """
    if run.steps is None:
        raise UsageError(f"run {run.id} of {run.job} is not a flow", hint="leave the step away")
    names = [str(record["name"]) for record in run.steps]
    first = step.partition("/")[0].partition("[")[0]
    if first not in names:
        raise UsageError(
            f"{run.job} has no step {first!r}{did_you_mean(first, names)}", hint=f"its steps: {', '.join(names)}"
        )
    return lambda name: name == step or name.startswith((f"{step}[", f"{step}/"))
