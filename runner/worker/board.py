"""The board: what each taker of a worker holds, in memory that the worker's parent and its takers share.

It outlives any taker: from it the parent renews leases, enforces time limits, and settles what a dead taker has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

from runner.attempt.slot import HEAD_BYTES, SLOT_BYTES, Head, Shown, Slot, TakerState

MOST_TAKERS = 4096
"""Places; the memory of those that nobody has is not used."""


class Board:
    """The board of one worker. Made before its takers, which inherit it."""

    def __init__(self) -> None:
        self._memory = mmap(-1, HEAD_BYTES + MOST_TAKERS * SLOT_BYTES)
        self.head = Head(self._memory)
        self.head.live()
        self._slots: dict[int, Slot] = {}

    def slot(self, index: int) -> Slot:
        """Return a place."""
        if index not in self._slots:
            self._slots[index] = Slot(self._memory, index)
        return self._slots[index]

    def writer(self, index: int) -> Slot:
        """Return a place to write to, from the counter that stands there."""
        return Slot(self._memory, index)

    def shown(self) -> Iterator[tuple[int, Shown]]:
        """Yield each place that was ever given away, and what it shows."""
        for index, slot in tuple(self._slots.items()):
            yield index, slot.read()

    def tokens(self) -> list[str]:
        """Return the tokens of all claims that takers hold, or are about to make."""
        return [token for _, shown in self.shown() for token in (shown.held, shown.asked) if token]

    @property
    def is_busy(self) -> bool:
        """Whether a taker does anything but wait to be woken."""
        return any(slot.state not in (TakerState.FREE, TakerState.IDLE) for slot in tuple(self._slots.values()))

    def running(self) -> list[tuple[int, Shown]]:
        """Return the places whose takers perform a run."""
        return [(index, shown) for index, shown in self.shown() if shown.state is TakerState.RUNNING]
