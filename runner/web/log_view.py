"""The part of a run's log that its page shows: its end, the lines around one, or those that contain a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from html import escape

from runner._dataclass import dataclass
from runner.model.log_line import LogLine

MOST_LINES = 400
"""Lines on one page."""
MOST_BYTES = 44_000
"""Bytes of the texts of all lines on one page, as they are in HTML; a single longer line is cut."""
LONGEST_LINE = 8_000
_LINE = re.compile(r"L?([1-9][0-9]{0,8})\.([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line and its number in its attempt, counted from 1. Lines that are not kept are counted, too."""

    line: LogLine
    number: int

    @property
    def name(self) -> str:
        """The fragment that links to it, such as ``L2.17`` for line 17 of attempt 2."""
        return f"L{self.line.attempt}.{self.number}"

    @property
    def address(self) -> str:
        """The query and fragment of a page that shows it among its neighbors."""
        return f"?line={self.line.attempt}.{self.number}#{self.name}"

    @property
    def text(self) -> str:
        """Its text, without the end of a line that is too long for a page."""
        text = self.line.text
        return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}… ({len(text):,} characters)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """Lines to show, how many there are in all, and the addresses of the pages before and after them."""

    lines: list[NumberedLine]
    count: int
    found: int | None = None
    """How many lines contain the text that was searched for; None if nothing was."""
    earlier: str | None = None
    later: str | None = None
    ends: dict[int, int] = field(default_factory=dict)
    """The number of the last line by attempt, from which a page that follows the log goes on."""
    firsts: dict[int, NumberedLine] = field(default_factory=dict)
    """The first line by attempt."""

    @property
    def at_end(self) -> bool:
        """Whether the last line of the log is among them, so that new ones can follow."""
        return self.found is None and self.later is None


def read_line_name(text: str) -> tuple[int, int] | None:
    """Return attempt and number of a line, as in ``2.17``; None for other text."""
    match = _LINE.fullmatch(text.strip())
    return None if match is None else (int(match[1]), int(match[2]))


def numbered(lines: Iterable[LogLine]) -> Iterator[NumberedLine]:
    """Yield lines with their numbers; a note about lines that are not kept has the number of the first of these."""
    numbers: dict[int, int] = {}
    for line in lines:
        number = numbers.get(line.attempt, 0) + 1
        numbers[line.attempt] = number + max(0, line.cut - 1)
        yield NumberedLine(line, number)


def log_view(lines: Iterable[LogLine], *, around: tuple[int, int] | None = None, search: str = "") -> LogView:
    """Return the lines to show.

    Args:
        lines: the whole log.
        around: the attempt and number of the line that must be among them; by default the end of the log is shown.
        search: show only lines that contain this text, whatever its case; the last ones if there are too many.
    """
    log = list(numbered(lines))
    ends = {item.line.attempt: item.number + max(0, item.line.cut - 1) for item in log}
    firsts = {item.line.attempt: item for item in reversed(log)}
    if search:
        found = [item for item in log if search.casefold() in item.line.text.casefold()]
        begin, end = _window(found, len(found) - 1)
        return LogView(lines=found[begin:end], count=len(log), found=len(found), ends=ends, firsts=firsts)
    center = next(
        (index for index, item in enumerate(log) if around and (item.line.attempt, item.number) >= around), len(log) - 1
    )
    begin, end = _window(log, center)
    return LogView(
        lines=log[begin:end],
        count=len(log),
        earlier=log[begin].address if begin > 0 else None,
        later=log[end - 1].address if end < len(log) else None,
        ends=ends,
        firsts=firsts,
    )


def _window(items: Sequence[NumberedLine], center: int) -> tuple[int, int]:
    """Return the bounds of a slice around ``center`` that has at most MOST_LINES lines and MOST_BYTES bytes."""
    begin, end = max(0, center), max(0, center) + 1
    size = _size(items[center]) if items else 0
    growing = bool(items)
    while growing and end - begin < MOST_LINES:
        growing = False
        if begin > 0 and size + _size(items[begin - 1]) <= MOST_BYTES:
            begin, growing = begin - 1, True
            size += _size(items[begin])
        if end < len(items) and end - begin < MOST_LINES and size + _size(items[end]) <= MOST_BYTES:
            size += _size(items[end])
            end, growing = end + 1, True
    return (begin, end) if items else (0, 0)


def _size(item: NumberedLine) -> int:
    return len(escape(item.text).encode("utf-8", "backslashreplace"))
