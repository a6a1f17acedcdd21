"""Follows runs to their end: shows each change, and returns an exit code for the outcome."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.cli.terminal.columns import clip
from runner.cli.terminal.faults import worst
from runner.cli.terminal.interrupts import Terminated
from runner.cli.terminal.output import Output, command_line, is_terminal
from runner.cli.terminal.run_text import failure_report, one_line, result_text, short_id
from runner.cli.terminal.step_text import StepChanges, flow_line, tree_lines
from runner.errors import RunnerError, Unavailable, UnknownRun, WaitTimeout
from runner.model.run import Run, State

if TYPE_CHECKING:
    from runner.actions.project import Project

EXIT_CODES = {State.SUCCESS: 0, State.FAILURE: 1, State.REVOKED: 3}

NOT_FINISHED = 5

MANY = 20
"""The most runs of which each change is shown."""

AT_ONCE = 1000
"""The most runs that are subscribed to and read at once. The next ones follow when these have ended."""

LOG_LINES = 10
"""How many of the last lines of a run's log are shown when it failed."""

LONGEST_RESULT = 1000
"""Characters of a result that are considered for its line."""


def exit_code_of(run: Run) -> int:
    """Return the exit code for a run's outcome; 5 if it has none yet."""
    return EXIT_CODES.get(run.state, NOT_FINISHED)


class Follower:
    """Shows the changes of some runs; :attr:`latest` has each of them as last seen, by id."""

    def __init__(self, project: Project, out: Output) -> None:
        self.project = project
        self.out = out
        self.latest: dict[str, Run] = {}
        self._shown: dict[str, tuple[Any, ...]] = {}
        self._steps = StepChanges()

    def see(self, run: Run) -> None:
        """Take a run as it is now, and show what has changed."""
        self.latest[run.id] = run
        now = (run.state, run.attempts)
        if self.out.quiet:
            return
        lines = [line for _, line in self._steps.lines(run)]
        if self._shown.get(run.id) != now:
            # The steps of a flow end before the flow does.
            lines.insert(len(lines) if run.final else 0, flow_line(run))
        for line in lines:
            self.out.note(line)
        self._shown[run.id] = now

    def sum_up(self, runs: Sequence[Run]) -> None:
        """Report each failure, and on a terminal show each result."""
        for run in runs:
            self.report(run)
            if run.state is State.SUCCESS and run.result is not None:
                self._show_result(run, alone=len(runs) == 1)

    def _show_result(self, run: Run, *, alone: bool) -> None:
        if self.out.quiet or self.out.as_json or not is_terminal(sys.stderr):
            return
        line = ("" if alone else f"{short_id(run.id)} ") + f"= {result_text(run.result)}"
        self.out.note(clip(one_line(line, LONGEST_RESULT), max(20, shutil.get_terminal_size().columns)))

    def report(self, run: Run, *, output_shown: bool = False) -> None:
        """Report a run that did not succeed: its error, its last lines, and the commands that show more.

        Args:
            run: the run.
            output_shown: leave out the last lines and the traceback, because the user has just seen them.
        """
        if run.final and run.state is not State.SUCCESS:
            run_id = short_id(run.id) if is_terminal(sys.stderr) else run.id
            status, logs = (command_line(self.project, verb, run_id) for verb in ("status", "logs"))
            try:
                log, steps = [] if output_shown else self._last_lines(run), self._tree(run)
            except RunnerError:
                # Redis has gone since; the report goes without them.
                log, steps = [], []
            if output_shown and run.error and run.reason == "exception":
                run = replace(run, error={**run.error, "traceback": None})
            self.out.note(failure_report(run, status, logs, log, steps))

    def _last_lines(self, run: Run) -> list[str]:
        from runner.actions.logs import last_lines  # start-up time: most commands show no log

        lines = last_lines(self.project, run, LOG_LINES)
        return [text for line in lines for text in line.labeled().splitlines()]

    def _tree(self, run: Run) -> list[str]:
        from runner.actions.step_tree import read_branches  # start-up time: as above

        short = is_terminal(sys.stderr)
        return tree_lines(read_branches(self.project, run), short=short) if run.steps else []

    @contextmanager
    def showing(self) -> Iterator[Callable[[Run], None]]:
        """Yield a function to call with each change: a live display on a terminal, plain lines elsewhere."""
        if self.out.quiet or not is_terminal(sys.stderr):
            yield self.see
            return
        from runner.cli.terminal.live import LiveRuns  # start-up time: rich is for terminals only

        with LiveRuns() as display:

            def see(run: Run) -> None:
                self.latest[run.id] = run
                display.see(run)

            yield see


class Roll(Follower):
    """Shows only those of many runs that did not succeed, and at the end the number of runs in each state."""

    def see(self, run: Run) -> None:
        """Take a run as it is now, and show it if it did not succeed."""
        if run.final and run.state is not State.SUCCESS:
            super().see(run)
        self.latest[run.id] = run

    def sum_up(self, runs: Sequence[Run]) -> None:
        """Print the number of runs in each final state."""
        counts = Counter(str(run.state) for run in runs if run.final)
        self.out.note(", ".join(f"{number:,} {state}" for state, number in sorted(counts.items())) or "none has ended")

    @contextmanager
    def showing(self) -> Iterator[Callable[[Run], None]]:
        """Yield a function to call with each change: it prints plain lines."""
        yield self.see


def follow(
    project: Project, out: Output, ids: Sequence[str], *, timeout: float | None, codes: Sequence[int] = ()
) -> tuple[int, list[Run]]:
    """Wait for runs; return the exit code and the runs as last seen.

    Of more than :data:`MANY` runs, only those that did not succeed are shown, one line each, and the number of runs in
    each state.

    Args:
        project: the project of the runs.
        out: where changes, outcomes, and failures are printed.
        ids: full ids.
        timeout: seconds, or None to wait forever.
        codes: the exit codes for ids that could not be followed.
    """
    many = len(ids) > MANY
    follower = Roll(project, out) if many else Follower(project, out)
    deadline = None if timeout is None else time.monotonic() + timeout
    extra: list[int] = list(codes)
    reason = None
    interrupted = 0
    for first in range(0, len(ids), AT_ONCE):
        portion = ids[first : first + AT_ONCE]
        try:
            extra += _follow(follower, portion, None if deadline is None else deadline - time.monotonic())
        except WaitTimeout:
            # The other portions are still read once: some of their runs may have ended by now.
            reason = "the time to wait has passed"
            extra.append(WaitTimeout.exit_code)
        except KeyboardInterrupt:
            reason, interrupted = "interrupted", 130
            break
        except Terminated:
            reason, interrupted = "terminated", 143
            break
        except Unavailable as error:
            again = f"once Redis is back: {_again(project, ids)}"
            out.error(Unavailable(error.message, hint=f"the run{'s go' if many else ' goes'} on; {again}"))
            extra.append(error.exit_code)
            break
    if reason is not None:
        going = [run_id for run_id in ids if run_id not in follower.latest or not follower.latest[run_id].final]
        if going:
            noun = f"run {going[0]} goes on; to wait for its end" if len(going) == 1 else f"{len(going)} runs go on"
            out.note(f"{reason}: {noun}: {_again(project, going if many else ids)}")
    runs = [follower.latest[run_id] for run_id in ids if run_id in follower.latest]
    follower.sum_up(runs)
    ended = [exit_code_of(run) for run in runs if run.final]
    return interrupted or worst([*extra, *ended]), runs


def _follow(follower: Follower, ids: Sequence[str], timeout: float | None) -> list[int]:
    """Wait for some runs; return the exit codes for those that are no longer known. The wait for the others continues.

    Raises:
        WaitTimeout, Unavailable: as :func:`runner.actions.wait.wait`.
    """
    from runner.actions.wait import wait  # start-up time: most commands do not wait
    from runner.ledger.reading import unknown_run

    codes: list[int] = []
    left = list(ids)
    while left:
        try:
            with follower.showing() as see:
                wait(follower.project, left, timeout=timeout, on_change=see)
            break
        except UnknownRun as error:
            known = {run.id for run in follower.project.records.read(left)}
            if len(known) == len(left):
                raise
            for run_id in left:
                if run_id not in known:
                    follower.out.error(unknown_run(run_id))
                    codes.append(error.exit_code)
            left = [run_id for run_id in left if run_id in known]
    return codes


def _again(project: Project, ids: Sequence[str]) -> str:
    """Return the command that waits for runs; of many runs, it reads their ids from a file."""
    if len(ids) > MANY:
        return f"{command_line(project, 'wait', '-')} < FILE_OF_IDS"
    return command_line(project, "wait", *ids)
