"""What a job can learn of its run, and say about it. Inert outside of a run, so that jobs stay testable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CurrentRun:
    """The run that this code is part of.

    Outside of a run ``id`` and ``job`` are None, ``attempt`` is 0, and :meth:`progress` does nothing.
    """

    id: str | None = None
    job: str | None = None
    attempt: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    report: Callable[[float | None, str | None], None] | None = field(default=None, repr=False)

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Say how far the run is.

        Args:
            fraction: 0.0 to 1.0, or None if that is not known.
            message: a few words.

        Raises:
            ValueError: the fraction is not between 0 and 1.
        """
        if fraction is not None and not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction is {fraction}, write 0.0 to 1.0")
        if self.report is not None:
            self.report(fraction, message)


_current: ContextVar[CurrentRun] = ContextVar("runner_current_run")
_OUTSIDE = CurrentRun()


def current_run() -> CurrentRun:
    """Return the run that this code is part of, or an inert one."""
    return _current.get(_OUTSIDE)


@contextmanager
def running(run: CurrentRun) -> Iterator[None]:
    """Make ``run`` the current one."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)
