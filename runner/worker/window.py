"""Choose the part of an attempt's log to keep: the first and the last half, by bytes and by lines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    """The kept log of one attempt; the first chunks stay, later ones replace those in the middle.

    ``most_bytes`` and ``most_lines`` bound the whole. Only the positions of chunks are known here.
    """

    most_bytes: int
    most_lines: int
    _head_bytes: int = 0
    _head_lines: int = 0
    _head_full: bool = False
    _tail: deque[tuple[str, int, int]] = field(default_factory=deque)
    _tail_bytes: int = 0
    _tail_lines: int = 0
    _pushed_out: list[str] = field(default_factory=list)

    def make_room(self, size: int, lines: int) -> list[str]:
        """Return the ids of the chunks that a new one of ``size`` bytes and ``lines`` lines pushes out.

        They are reported again until a chunk is added, because the chunk that they made room for may have been lost.
        """
        if not self._head_full:
            self._head_full = (
                self._head_bytes + size > self.most_bytes // 2 or self._head_lines + lines > self.most_lines // 2
            )
        if not self._head_full:
            return []
        while self._tail and (
            self._tail_bytes + size > self.most_bytes // 2 or self._tail_lines + lines > self.most_lines // 2
        ):
            chunk_id, old_size, old_lines = self._tail.popleft()
            self._pushed_out.append(chunk_id)
            self._tail_bytes -= old_size
            self._tail_lines -= old_lines
        return list(self._pushed_out)

    def add(self, chunk_id: str, size: int, lines: int) -> None:
        """Record a chunk that was appended after :meth:`make_room`."""
        self._pushed_out.clear()
        if not self._head_full:
            self._head_bytes += size
            self._head_lines += lines
            return
        self._tail.append((chunk_id, size, lines))
        self._tail_bytes += size
        self._tail_lines += lines
