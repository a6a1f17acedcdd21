"""A line of a run's log, and logs of several runs in one."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from runner._dataclass import dataclass
from runner.model.run import to_timestamp


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, or one record of Python's ``logging``, whose text may have several lines.

    ``at`` is a Unix time in milliseconds. ``level`` is that of ``logging`` (``INFO``, ``ERROR``), or None for standard
    output and standard error. ``cut`` is the number of lines that were dropped at this point, and ``text`` says so. In
    the log of a flow, ``step`` is the name of the step run, such as ``load[3]``, and ``run`` its id.
    """

    at: int
    attempt: int
    level: str | None
    text: str
    cut: int = 0
    step: str | None = None
    run: str | None = None

    def labeled(self) -> str:
        """Return the text, after the name of its step if there is one."""
        return self.text if self.step is None else f"{self.step} | {self.text}"

    def document(self) -> dict[str, Any]:
        """Return the line as JSON, with ``at`` in RFC 3339."""
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
    """A log that is opened when it is needed. ``begin`` (Unix ms) is at or before the time of its first line."""

    begin: float
    open: Callable[[], Iterator[LogLine]]


def interleave(sources: Sequence[Source]) -> Iterator[LogLine]:
    """Yield the lines of all logs in order of time; each log is opened as late as possible."""
    ready = sorted(sources, key=lambda source: source.begin)
    heap: list[tuple[int, int, LogLine, Iterator[LogLine]]] = []
    opened = 0
    while heap or opened < len(ready):
        # Not all at once: there may be ten thousand logs.
        while opened < len(ready) and (not heap or ready[opened].begin <= heap[0][0]):
            lines = ready[opened].open()
            if (first := next(lines, None)) is not None:
                heapq.heappush(heap, (first.at, opened, first, lines))
            opened += 1
        if not heap:
            continue
        _, order, line, lines = heap[0]
        yield line
        if (after := next(lines, None)) is not None:
            heapq.heapreplace(heap, (after.at, order, after, lines))
        else:
            heapq.heappop(heap)
