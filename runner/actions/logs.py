"""Read and follow the log of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.ledger.flow_log import FlowLog, everything
from runner.ledger.run_log import RunLog
from runner.model.log_line import LogLine
from runner.model.option import did_you_mean
from runner.model.run import Run

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
) -> Iterator[LogLine]:
    """Yield the lines of a run's log, oldest first; of a flow those of its step runs.

    Args:
        project: where the run belongs.
        run_id: its full id.
        follow: go on with what comes, until the run has ended.
        attempt: only of this one, counted from 1.
        since: only what was written at or after this Unix time in seconds.
        tail: how many of the last recorded lines to show first.
        step: only of this step of a flow, or of one of its items, such as ``load[3]``.

    Raises:
        UnknownRun: there is no such run.
        UsageError: it has no such step.
        Unavailable: Redis cannot be reached.
    """

    def wanted(lines: Iterable[LogLine]) -> Iterator[LogLine]:
        for line in lines:
            if (attempt is None or line.attempt == attempt) and (since is None or line.at >= since * 1000):
                yield line

    run = project.ledger.get(run_id)
    log: RunLog | FlowLog
    if run.steps is not None:
        log = FlowLog(project.ledger, run_id, _wanted(run, step) if step is not None else everything)
    elif step is not None:
        raise UsageError(f"run {run.id} of {run.job} is not a flow", hint="leave the step away")
    else:
        log = RunLog(project.ledger, run_id)
    if tail is not None:
        yield from deque(wanted(log.lines()), maxlen=tail)
    if follow:
        yield from wanted(log.follow())
    elif tail is None:
        yield from wanted(log.lines())


def _wanted(flow: Run, step: str) -> Callable[[str], bool]:
    """Return a test for names of step runs: whether one is ``step``, an item of it, or within it.

    Raises:
        UsageError: the flow has no such step.
    """
    names = [str(each["name"]) for each in flow.steps or ()]
    first = step.partition("/")[0].partition("[")[0]
    if first not in names:
        raise UsageError(
            f"{flow.job} has no step {first!r}{did_you_mean(first, names)}", hint=f"its steps: {', '.join(names)}"
        )
    return lambda name: name == step or name.startswith((f"{step}[", f"{step}/"))
