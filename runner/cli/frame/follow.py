"""Follows runs to their end: shows each change, and turns the outcome into an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.cli.frame.faults import worst
from runner.cli.frame.interrupts import Terminated
from runner.cli.frame.output import Output, command_line, is_terminal
from runner.cli.frame.run_text import change_line, failure_report
from runner.errors import RunnerError, Unavailable, WaitTimeout
from runner.model.run import Run, State

if TYPE_CHECKING:
    from runner.actions.project import Project

EXIT_CODES = {State.SUCCESS: 0, State.FAILURE: 1, State.REVOKED: 3}

NOT_FINISHED = 5

LOG_LINES = 10
"""How many of the last lines of a run's log a failure shows."""


def exit_code_of(run: Run) -> int:
    """Return the exit code that tells a run's outcome; 5 if it has none yet."""
    return EXIT_CODES.get(run.state, NOT_FINISHED)


class Follower:
    """Shows the changes of some runs; :attr:`latest` holds each as it was last seen."""

    def __init__(self, project: Project, out: Output) -> None:
        self.project = project
        self.out = out
        self.latest: dict[str, Run] = {}
        self._shown: dict[str, tuple[Any, ...]] = {}

    def see(self, run: Run) -> None:
        """Take a run as it is now."""
        self.latest[run.id] = run
        told = (run.state, run.attempts)
        if not self.out.quiet and self._shown.get(run.id) != told:
            self.out.note(change_line(run))
        self._shown[run.id] = told

    def report(self, run: Run) -> None:
        """Say what a person needs to know of a run that did not succeed."""
        if run.final and run.state is not State.SUCCESS:
            log = self._last_lines(run)
            status, logs = (command_line(self.project, verb, run.id) for verb in ("status", "logs"))
            self.out.note(failure_report(run, status, logs, log))

    def _last_lines(self, run: Run) -> list[str]:
        from runner.actions.logs import last_lines  # start-up time: most commands show no log

        try:
            return [text for line in last_lines(self.project, run.id, LOG_LINES) for text in line.text.splitlines()]
        except RunnerError:
            # Redis has gone since: the outcome is known, and is what counts.
            return []

    @contextmanager
    def showing(self) -> Iterator[Callable[[Run], None]]:
        """Yield what to call with each change: a live display on a terminal, plain lines elsewhere."""
        if self.out.quiet or not is_terminal(sys.stderr):
            yield self.see
            return
        from runner.cli.frame.live import LiveRuns  # start-up time: rich is for terminals only

        with LiveRuns() as display:

            def see(run: Run) -> None:
                self.latest[run.id] = run
                display.see(run)

            yield see


def follow(
    project: Project, out: Output, ids: Sequence[str], *, timeout: float | None, codes: Sequence[int] = ()
) -> tuple[int, list[Run]]:
    """Wait for runs; return the exit code and the runs as last seen.

    Args:
        project: whose runs.
        out: where changes, outcomes and failures are told.
        ids: full ids.
        timeout: seconds, or None.
        codes: of ids that could not be followed, to be merged in.
    """
    from runner.actions.wait import wait  # start-up time: most commands do not wait

    follower = Follower(project, out)
    again = command_line(project, "wait", *ids)
    extra: list[int] = list(codes)
    interrupted = 0
    try:
        with follower.showing() as see:
            wait(project.ledger, ids, timeout=timeout, on_change=see)
    except WaitTimeout:
        _say_it_goes_on(out, follower, ids, "the time to wait has passed", again)
        extra.append(WaitTimeout.exit_code)
    except KeyboardInterrupt:
        _say_it_goes_on(out, follower, ids, "interrupted", again)
        interrupted = 130
    except Terminated:
        _say_it_goes_on(out, follower, ids, "terminated", again)
        interrupted = 143
    except RunnerError as error:
        if isinstance(error, Unavailable):
            error = Unavailable(error.message, hint=f"the run goes on; once Redis is back: {again}")
        out.error(error)
        extra.append(error.exit_code)
    runs = [follower.latest[run_id] for run_id in ids if run_id in follower.latest]
    for run in runs:
        follower.report(run)
    ended = [exit_code_of(run) for run in runs if run.final]
    return interrupted or worst([*extra, *ended]), runs


def _say_it_goes_on(out: Output, follower: Follower, ids: Sequence[str], why: str, again: str) -> None:
    going = [run_id for run_id in ids if run_id not in follower.latest or not follower.latest[run_id].final]
    noun = f"run {going[0]} goes on" if len(going) == 1 else f"{len(going)} runs go on"
    out.note(f"{why}: {noun}; to wait for its end: {again}" if len(going) == 1 else f"{why}: {noun}: {again}")
