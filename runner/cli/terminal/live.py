"""The live display, on a terminal, of runs that a command waits for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from runner.cli.terminal.moments import show_seconds
from runner.cli.terminal.output import STYLES
from runner.cli.terminal.run_text import one_line
from runner.cli.terminal.step_text import StepChanges, counts_text, flow_line, waits_for_approval
from runner.model.run import FINAL, Run, State, to_datetime
from runner.model.step_run import ended


class TimeLeftColumn(ProgressColumn):
    """The estimated time left of a run; empty while it is unknown."""

    def render(self, task: Task) -> Text:
        """Return the remaining time estimated at the last progress report, less the time since then."""
        left, estimated_at = task.fields.get("left"), task.fields.get("estimated_at", 0.0)
        if left is None:
            return Text("")
        return Text(
            f"{show_seconds(max(0.0, left - (time.monotonic() - estimated_at)))} left", style="progress.remaining"
        )


def expected_left(run: Run, now: float) -> float | None:
    """Return the seconds until a run ends, estimated from its progress so far.

    None if it reports no progress, or is a flow, whose steps may take very different times.

    Args:
        run: the run.
        now: Unix time in seconds.
    """
    fraction = (run.progress or {}).get("fraction")
    if run.state is not State.STARTED or not fraction or run.started_at is None or run.steps is not None:
        return None
    passed = max(0.0, now - to_datetime(run.started_at).timestamp())
    return float(passed * (1.0 - fraction) / fraction)


MOST_STEPS = 15
"""The most steps of a flow of which all have a line. In a larger flow, only steps that run or failed have one."""


class LiveRuns:
    """A line with state, progress, and time for each run and each step of a flow. Changes are printed above them."""

    def __init__(self, *, stderr: bool = True) -> None:
        """Draw on stderr, or on stdout."""
        self._console = Console(stderr=stderr)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[state]}"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeLeftColumn(),
            console=self._console,
            transient=True,
        )
        self._rows: dict[str, TaskID] = {}
        self._shown: dict[str, tuple[Any, ...]] = {}
        self._progress_shown: dict[str, dict[str, Any]] = {}
        self._steps = StepChanges(short=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def see(self, run: Run) -> None:
        """Take a run as it is now, and show what has changed."""
        now = (run.state, run.attempts)
        lines = list(self._steps.lines(run))
        if self._shown.get(run.id) != now:
            self._shown[run.id] = now
            # The steps of a flow end before the flow does.
            lines.insert(len(lines) if run.final else 0, (run.state, flow_line(run, short=True)))
        for state, line in lines:
            self._console.print(Text(line, style=STYLES[state]), no_wrap=True, overflow="ellipsis")
        if run.id not in self._rows:
            self._rows[run.id] = self._progress.add_task(one_line(run.job, 40), total=None, state="", note="")
        progress = run.progress or {}
        fraction = progress.get("fraction")
        if self._progress_shown.get(run.id) != progress:
            self._progress_shown[run.id] = progress
            left = expected_left(run, time.time())
            self._progress.update(self._rows[run.id], left=left, estimated_at=time.monotonic())
        self._progress.update(
            self._rows[run.id],
            state=f"[{STYLES[run.state]}]{run.state}[/]",
            total=1.0 if fraction is not None else None,
            completed=fraction or 0.0,
            note=one_line(progress.get("message") or run.detail or "", 60),
            visible=not run.final,
        )
        for step in run.steps or ():
            self._see_step(run, step)

    def _see_step(self, run: Run, step: Mapping[str, Any]) -> None:
        key, state, items = f"{run.id}/{step['name']}", State(step["state"]), step.get("items")
        counts = step.get("counts") or {}
        wide = not step.get("run") and isinstance(items, int)
        total = float(max(1, items or 0)) if wide else 1.0 if state in FINAL else None
        if key not in self._rows:
            name = one_line(f"  {step['name']}", 40)
            self._rows[key] = self._progress.add_task(name, start=False, total=None, state="", note="")
        task = self._rows[key]
        if state is not State.PENDING:
            self._progress.start_task(task)
        if state in FINAL:
            self._progress.stop_task(task)
        waits = "waits for approval" if waits_for_approval(step) else ""
        eventful = bool(waits) or (state is not State.PENDING and state is not State.SUCCESS)
        self._progress.update(
            task,
            state=f"[{STYLES[state]}]{state}[/]",
            total=total,
            completed=(ended(counts) if items else 1) if wide else 1.0 if state in FINAL else 0.0,
            note=counts_text(items or 0, counts) if wide else step.get("reason") or waits,
            visible=not run.final and (eventful or len(run.steps or ()) <= MOST_STEPS),
        )
