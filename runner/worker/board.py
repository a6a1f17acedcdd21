"""The board: shared memory of a worker's parent and its takers that shows what each taker holds.

It outlives the takers. The parent uses it to renew leases, enforce time limits, and settle the attempts of dead takers.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

from runner.attempt.slot import HEAD_BYTES, SLOT_BYTES, Head, Shown, Slot, TakerState

MOST_TAKERS = 4096
"""The maximum number of slots; unused slots take no memory."""


class Board:
    """The board of one worker, created before its takers, which inherit it."""

    def __init__(self) -> None:
        self._memory = mmap(-1, HEAD_BYTES + MOST_TAKERS * SLOT_BYTES)
        self.head = Head(self._memory)
        self.head.live()
        self._slots: dict[int, Slot] = {}

    def slot(self, index: int) -> Slot:
        """Return a slot."""
        if index not in self._slots:
            self._slots[index] = Slot(self._memory, index)
        return self._slots[index]

    def writer(self, index: int) -> Slot:
        """Return a writer for a slot that continues from its counter."""
        return Slot(self._memory, index)

    def shown(self) -> Iterator[tuple[int, Shown]]:
        """Yield each slot that was ever used, with its content."""
        for index, slot in tuple(self._slots.items()):
            yield index, slot.read()

    def tokens(self) -> list[str]:
        """Return the tokens of all claims that takers hold or are about to request."""
        return [token for _, shown in self.shown() for token in (shown.held, shown.asked) if token]

    @property
    def is_busy(self) -> bool:
        """Return whether any taker is busy."""
        return any(slot.state not in (TakerState.FREE, TakerState.IDLE) for slot in tuple(self._slots.values()))

    def running(self) -> list[tuple[int, Shown]]:
        """Return the slots whose takers are performing a run."""
        return [(index, shown) for index, shown in self.shown() if shown.state is TakerState.RUNNING]
