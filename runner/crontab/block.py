"""The block of a project in a crontab: found, put in, taken out; every other byte stays as it is.

A block has no line that sets a variable: in a crontab such a line would hold for all lines below it, also for those
that people write. It stands at the end, so that a MAILTO above holds for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from runner._dataclass import dataclass

# Cron's lines end here alone, and not where others see an end.
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_BEGIN = b"# runner cron: begin "
_END = b"# runner cron: end "
_NOTE = b"# Written by `runner cron install`; changes between these two lines are lost."
_JOINED = b"# (the line above had no line end)"
"""Remembers what `remove` has to restore."""


class BrokenBlock(ValueError):
    """The marks in a crontab do not fit; the message says which."""


@dataclass(frozen=True, slots=True)
class Span:
    """The position of a block: ``text[start:stop]``, with marks and line ends. ``lines`` are those between."""

    start: int
    stop: int
    lines: tuple[bytes, ...]


def find_block(text: bytes, project: str) -> Span | None:
    """Return the position of a project's block.

    Raises:
        BrokenBlock: it begins twice, or has no end.
    """
    found = [span for name, span in _spans(text) if name == os.fsencode(project)]
    if len(found) > 1:
        raise BrokenBlock(f"the block of {project} stands there twice")
    return found[0] if found else None


def outside(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and text of each line that stands in no block."""
    inside = [(span.start, span.stop) for _, span in _spans(text)]
    at = 0
    for number, line in enumerate(_LINE.findall(text), 1):
        if not any(start <= at < stop for start, stop in inside):
            yield number, line
        at += len(line)


def written(project: str, lines: Sequence[str]) -> bytes:
    """Return the block of a project."""
    name = os.fsencode(project)
    return b"\n".join([_BEGIN + name, _NOTE, *map(os.fsencode, lines), _END + name, b""])


def put_in(text: bytes, project: str, lines: Sequence[str]) -> bytes:
    """Return the crontab with the block of a project: in its place, or new at the end.

    Raises:
        BrokenBlock: see :func:`find_block`.
    """
    span = find_block(text, project)
    if span is None:
        if text and not text.endswith(b"\n"):
            return text + b"\n" + written(project, [os.fsdecode(_JOINED), *lines])
        return text + written(project, lines)
    if _JOINED in span.lines:
        lines = [os.fsdecode(_JOINED), *lines]
    return text[: span.start] + written(project, lines) + text[span.stop :]


def take_out(text: bytes, project: str) -> bytes:
    """Return the crontab without the block of a project, as it was before.

    Raises:
        BrokenBlock: see :func:`find_block`.
    """
    span = find_block(text, project)
    if span is None:
        return text
    before, after = text[: span.start], text[span.stop :]
    if _JOINED not in span.lines:
        return before + after
    if not after:
        return before.removesuffix(b"\n")
    if after.startswith(_BEGIN):
        # The next block takes the remark over.
        first, end, rest = after.partition(b"\n")
        after = first + end + _JOINED + b"\n" + rest
    return before + after


def lines_of(text: bytes, project: str) -> list[str] | None:
    """Return the lines of a project's block without its remarks, None if there is no block.

    Raises:
        BrokenBlock: see :func:`find_block`.
    """
    span = find_block(text, project)
    if span is None:
        return None
    return [os.fsdecode(line) for line in span.lines if line not in (_NOTE, _JOINED)]


def setting_above(text: bytes, project: str, name: str) -> str | None:
    """Return the value that a line above the block of a project (or the end) gives a variable."""
    span = find_block(text, project)
    value = None
    for line in text[: len(text) if span is None else span.start].splitlines():
        left, equals, right = line.partition(b"=")
        if equals and left.strip(b" \t\"'") == os.fsencode(name):
            value = os.fsdecode(right.strip().strip(b"\"'"))
    return value


def _spans(text: bytes) -> Iterator[tuple[bytes, Span]]:
    at, start, name = 0, 0, None
    between: list[bytes] = []
    for number, line in enumerate(_LINE.findall(text), 1):
        # A line end of Windows counts as a change of the block, and not of its marks.
        bare = line.rstrip(b"\r\n")
        if bare.startswith(_BEGIN):
            if name is not None:
                raise BrokenBlock(f"line {number}: a block begins before that of {os.fsdecode(name)} has ended")
            at_start, name, between = at, bare.removeprefix(_BEGIN), []
            start = at_start
        elif bare.startswith(_END):
            if name != bare.removeprefix(_END):
                raise BrokenBlock(f"line {number}: the end of a block that did not begin")
            yield name, Span(start, at + len(line), tuple(between))
            name = None
        elif name is not None:
            between.append(line.removesuffix(b"\n"))
        at += len(line)
    if name is not None:
        raise BrokenBlock(f"the block of {os.fsdecode(name)} has no end")
