"""The live display of runs that are waited for, on a terminal."""

from __future__ import annotations

import time
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

from runner.cli.frame.moments import show_seconds
from runner.cli.frame.output import STYLES
from runner.cli.frame.run_text import change_line, one_line
from runner.model.run import Run, State, to_datetime


class TimeLeftColumn(ProgressColumn):
    """The estimated time left of a run; empty while it is unknown."""

    def render(self, task: Task) -> Text:
        """Return the remaining time estimated at the last progress report, less the time since then."""
        left, told_at = task.fields.get("left"), task.fields.get("told_at", 0.0)
        if left is None:
            return Text("")
        return Text(f"{show_seconds(max(0.0, left - (time.monotonic() - told_at)))} left", style="progress.remaining")


def expected_left(run: Run, now: float) -> float | None:
    """Return the seconds that a run takes yet if it goes on as it went since its start; None if that is not known.

    Args:
        run: the run.
        now: Unix time in seconds.
    """
    fraction = (run.progress or {}).get("fraction")
    if run.state is not State.STARTED or not fraction or run.started_at is None:
        return None
    passed = max(0.0, now - to_datetime(run.started_at).timestamp())
    return float(passed * (1.0 - fraction) / fraction)


class LiveRuns:
    """A line a run with state, progress and time; each change of state stays above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
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
        self._told: dict[str, tuple[Any, ...]] = {}
        self._progress_told: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def see(self, run: Run) -> None:
        """Take a run as it is now."""
        told = (run.state, run.attempts)
        if self._told.get(run.id) != told:
            self._told[run.id] = told
            self._progress.console.print(Text(change_line(run), style=STYLES[run.state]))
        if run.id not in self._rows:
            self._rows[run.id] = self._progress.add_task(one_line(run.job, 40), total=None, state="", note="")
        progress = run.progress or {}
        fraction = progress.get("fraction")
        if self._progress_told.get(run.id) != progress:
            self._progress_told[run.id] = progress
            self._progress.update(self._rows[run.id], left=expected_left(run, time.time()), told_at=time.monotonic())
        self._progress.update(
            self._rows[run.id],
            state=f"[{STYLES[run.state]}]{run.state}[/]",
            total=1.0 if fraction is not None else None,
            completed=fraction or 0.0,
            note=one_line(progress.get("message") or run.detail or "", 60),
            visible=not run.final,
        )
