"""The current run, from inside a job: its data and its progress. Inert outside of runs, so that jobs stay testable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar
from dataclasses import field
from typing import Any, TypeVar

from runner._dataclass import dataclass

T = TypeVar("T")

TRACK_SECONDS = 0.5
"""Seconds between two reports of :meth:`CurrentRun.track`."""


@dataclass(frozen=True)
class FlowRef:
    """The flow of a step run."""

    id: str
    """The run id of the flow."""
    job: str
    """The job that declares its steps."""
    step: str
    item: int | None = None
    """The position of this run's item, counted from 0; None for a step without ``each``."""


@dataclass(frozen=True)
class CurrentRun:
    """The run that this code is part of.

    Outside of a run ``id`` and ``job`` are None, ``attempt`` is 0, and :meth:`progress` does nothing.
    """

    id: str | None = None
    job: str | None = None
    attempt: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    flow: FlowRef | None = None
    """The flow of this run; None outside of flows."""
    report: Callable[[float | None, str | None], None] | None = field(default=None, repr=False)
    mask: Callable[[str], str] = field(default=str, repr=False)
    """Masks the secrets of the run in a text. The runner does so with everything it stores; a job needs this only for
    text that it cuts or sends elsewhere."""

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Report the progress of the run.

        Args:
            fraction: 0.0 to 1.0, or None if unknown.
            message: a short text; the first 500 characters are kept.

        Raises:
            ValueError: the fraction is not between 0 and 1.
        """
        if fraction is not None and not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction is {fraction}, write 0.0 to 1.0")
        if self.report is not None:
            self.report(fraction, message)

    def track(self, items: Iterable[T], total: int | None = None, message: str | None = None) -> Iterator[T]:
        """Yield each of ``items`` and report the progress, at most twice a second.

        Args:
            items: the items to work through.
            total: the number of items; by default their length, if they have one.
            message: a short text; ``4 of 10`` by default.
        """
        if total is None and isinstance(items, Sized):
            total = len(items)
        reported_at = 0.0
        for done, item in enumerate(items):
            if time.monotonic() - reported_at >= TRACK_SECONDS:
                reported_at = time.monotonic()
                self._say(done, total, message)
            yield item
        if total is not None:
            self._say(total, total, message)

    def _say(self, done: int, total: int | None, message: str | None) -> None:
        text = message or (f"{done} of {total}" if total is not None else f"{done}")
        self.progress(min(1.0, done / total) if total else None, text)


_current: ContextVar[CurrentRun] = ContextVar("runner_current_run")
_OUTSIDE = CurrentRun()


def current_run() -> CurrentRun:
    """Return the current run, or an inert object outside of runs."""
    return _current.get(_OUTSIDE)


class running:  # noqa: N801 - it is used as a function
    """Make ``run`` the current one in the block."""

    def __init__(self, run: CurrentRun) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._token = _current.set(self._run)

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)
