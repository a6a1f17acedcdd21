"""Wait for a condition in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")

PAUSE = 0.02
LONGEST_PAUSE = 0.1


def wait_until(condition: Callable[[], T | Literal[False] | None], deadline: float = 30.0, what: str = "") -> T:
    """Return the first true value of ``condition``; fail after ``deadline`` seconds.

    Use it only if there is no event to wait for, such as a line in a log or a change of a run.
    """
    begun = time.monotonic()
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > begun + deadline:
            raise AssertionError(f"did not happen within {deadline:g} s: {what or condition}; last answer {value!r}")
        # Polling takes CPU time from the process that must make progress.
        time.sleep(max(PAUSE, now - asked, min((now - begun) / 10, LONGEST_PAUSE)))
