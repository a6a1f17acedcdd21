"""A line of a run's log."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from runner._dataclass import dataclass
from runner.model.run import to_timestamp


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, or one record of Python's ``logging``, whose text may have several lines.

    ``at`` is a Unix time in milliseconds. ``level`` is that of ``logging`` (``INFO``, ``ERROR``, …), or None for what
    was written to standard output or standard error. ``cut`` counts lines that are not kept; ``text`` says so then.
    In the log of a flow, ``step`` is the name of the step run that wrote it, such as ``load[3]``, and ``run`` its id.
    """

    at: int
    attempt: int
    level: str | None
    text: str
    cut: int = 0
    step: str | None = None
    run: str | None = None

    def labeled(self) -> str:
        """Return the text, behind the name of the step that wrote it."""
        return self.text if self.step is None else f"{self.step} | {self.text}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it, with ``at`` in RFC 3339."""
        return {
            "at": to_timestamp(self.at),
            "attempt": self.attempt,
            "level": self.level,
            "text": self.text,
            "cut": self.cut,
            "step": self.step,
            "run": self.run,
        }


class Source(NamedTuple):
    """A log that is opened when its turn comes. ``begin`` is no later than its first line, Unix ms."""

    begin: float
    open: Callable[[], Iterator[LogLine]]


def interleave(sources: Sequence[Source]) -> Iterator[LogLine]:
    """Yield the lines of all logs in order of time; a log that begins later is opened later."""
    ready = sorted(sources, key=lambda each: each.begin)
    heap: list[tuple[int, int, LogLine, Iterator[LogLine]]] = []
    place = 0
    while heap or place < len(ready):
        # There may be ten thousand of them.
        while place < len(ready) and (not heap or ready[place].begin <= heap[0][0]):
            lines = ready[place].open()
            if (first := next(lines, None)) is not None:
                heapq.heappush(heap, (first.at, place, first, lines))
            place += 1
        if not heap:
            continue
        _, order, line, lines = heap[0]
        yield line
        if (after := next(lines, None)) is not None:
            heapq.heapreplace(heap, (after.at, order, after, lines))
        else:
            heapq.heappop(heap)
