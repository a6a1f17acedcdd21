"""The end of an attempt as plain, bounded data, without objects that the job made."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Self

LONGEST_TEXT = 1024
"""The maximum length of a result or an exception in the parent's log and events (characters)."""


class PlumbingFault(BaseException):
    """Code of the runner failed, so the attempt has no outcome. Not an ``Exception``, so that no job catches it."""


class End(IntEnum):
    """The type of an attempt's end."""

    SUCCEEDED = 0
    FAILED = 1
    RETRIED = 2
    NOT_STARTED = 3
    """The guard refused it."""
    UNSETTLED = 4
    """Its outcome could not be written, so it counts as lost."""


class AttemptReport(NamedTuple):
    """One attempt. ``text`` is the result or the exception as ``repr`` shows it."""

    end: End
    text: str = ""
    traceback: str | None = None
    seconds: float | None = None
    advances: bool = False
    """Whether the run was a step, and its flow can go on now."""

    def plain(self) -> tuple[Any, ...]:
        """Return a plain tuple for the pipe to the parent: pickling a class takes four times as long."""
        return (int(self.end), *self[1:])

    @classmethod
    def of(cls, plain: Sequence[Any]) -> Self:
        """Return the outcome that :meth:`plain` wrote."""
        end, *rest = plain
        return cls(End(end), *rest)
