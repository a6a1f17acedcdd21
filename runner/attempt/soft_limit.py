"""Raise a soft timeout only in the job's own code, never in the runner's code around it.

Elsewhere it would leave a run without an outcome, or give it two.
"""

from __future__ import annotations

from billiard.exceptions import SoftTimeLimitExceeded


class SoftLimit:
    """The soft timeouts of one process. Use it in a ``with`` around a job's code."""

    def __init__(self) -> None:
        self._open = self._passed = self._entered = False

    def begin(self) -> None:
        """Reset for the next run."""
        self._open = self._passed = self._entered = False

    def strike(self) -> None:
        """Raise the exception in a job's code, at once or when it begins; called by a signal handler.

        Raises:
            SoftTimeLimitExceeded: a job's code is running.
        """
        if self._open:
            raise SoftTimeLimitExceeded
        self._passed = True

    def __enter__(self) -> None:
        first, self._entered = not self._entered, True
        self._open = True
        # After the job has returned, a late timeout is dropped.
        if first and self._passed:
            self._open = False
            raise SoftTimeLimitExceeded

    def __exit__(self, *_: object) -> None:
        self._open = False
