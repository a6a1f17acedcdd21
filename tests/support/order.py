"""In which order tests run: what waits for the clock comes first, so that others are tested meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def first(waiting: Sequence[T], others: Sequence[T], processes: int) -> list[T]:
    """Return all, with those that are ``waiting`` at the beginnings of what each process of xdist gets, in turn."""
    count = len(waiting) + len(others)
    ordered, left = [], list(others)
    begins, size = 0, 0
    for number in range(processes):
        begins += size
        # As WorkStealingScheduling.check_schedule shares them out.
        size = (count - begins) // (processes - number)
        mine = list(waiting[number::processes])
        rest = max(0, size - len(mine))
        ordered += [*mine, *left[:rest]]
        del left[:rest]
    return [*ordered, *left]
