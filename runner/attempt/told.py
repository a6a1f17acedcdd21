"""The end of an attempt as plain, bounded data, without objects that the job made."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Self

LONGEST_WORDS = 1024
"""Characters of a result or an exception that the parent logs and tells in events."""


class PlumbingFault(BaseException):
    """Something of the runner's own failed, so that the attempt has no outcome. No ``Exception``: no job catches it."""


class End(IntEnum):
    """The way in which an attempt ended in the child."""

    SUCCEEDED = 0
    FAILED = 1
    RETRIED = 2
    NOT_STARTED = 3
    """The guard refused it."""
    UNSETTLED = 4
    """Its outcome could not be written: to the ledger it is lost."""


class Told(NamedTuple):
    """One attempt. ``words`` is the result or the exception as ``repr`` shows it."""

    end: End
    words: str = ""
    traceback: str | None = None
    seconds: float | None = None
    advances: bool = False
    """Whether the run was a step of a flow that can go on now."""

    def plain(self) -> tuple[Any, ...]:
        """Return it for the pipe to the parent: a class of its own takes four times as long to pickle."""
        return (int(self.end), *self[1:])

    @classmethod
    def of(cls, plain: Sequence[Any]) -> Self:
        """Return the outcome that :meth:`plain` wrote."""
        end, *rest = plain
        return cls(End(end), *rest)
