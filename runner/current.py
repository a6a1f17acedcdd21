"""The run from inside a job: its facts, and its progress. Inert outside of a run, so that jobs stay testable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar
from dataclasses import field
from typing import Any, TypeVar

from runner._dataclass import dataclass

T = TypeVar("T")

TRACK_SECONDS = 0.5
"""Between two reports of :meth:`CurrentRun.track`."""


@dataclass(frozen=True)
class FlowRef:
    """The flow that a run is a step of."""

    id: str
    """The run id of the flow."""
    job: str
    """The job that declares its steps."""
    step: str
    item: int | None = None
    """The position of the item that this run is for, counted from 0; None if the step has no ``each``."""


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
    """The flow that this run is a step of; None outside of flows."""
    report: Callable[[float | None, str | None], None] | None = field(default=None, repr=False)
    mask: Callable[[str], str] = field(default=str, repr=False)
    """Takes the secrets of the run out of a text. The runner does so with all it keeps; a job needs it for what it
    cuts, or sends elsewhere."""

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Say how far the run is.

        Args:
            fraction: 0.0 to 1.0, or None if that is not known.
            message: a few words; of more than 500 characters the beginning is kept.

        Raises:
            ValueError: the fraction is not between 0 and 1.
        """
        if fraction is not None and not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction is {fraction}, write 0.0 to 1.0")
        if self.report is not None:
            self.report(fraction, message)

    def track(self, items: Iterable[T], total: int | None = None, message: str | None = None) -> Iterator[T]:
        """Yield each of ``items``, and say how far the run is as they are done, at most twice a second.

        Args:
            items: what is worked through.
            total: how many there are; by default their length, if they have one.
            message: a few words; ``4 of 10`` by default.
        """
        if total is None and isinstance(items, Sized):
            total = len(items)
        said = 0.0
        for done, item in enumerate(items):
            if time.monotonic() - said >= TRACK_SECONDS:
                said = time.monotonic()
                self._say(done, total, message)
            yield item
        if total is not None:
            self._say(total, total, message)

    def _say(self, done: int, total: int | None, message: str | None) -> None:
        words = message or (f"{done} of {total}" if total is not None else f"{done}")
        self.progress(min(1.0, done / total) if total else None, words)


_current: ContextVar[CurrentRun] = ContextVar("runner_current_run")
_OUTSIDE = CurrentRun()


def current_run() -> CurrentRun:
    """Return the run that this code is part of, or an inert one."""
    return _current.get(_OUTSIDE)


class running:  # noqa: N801 - it is used as a function
    """Make ``run`` the current one for the time of the ``with``."""

    def __init__(self, run: CurrentRun) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._token = _current.set(self._run)

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)
