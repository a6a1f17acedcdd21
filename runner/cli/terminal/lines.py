"""Reads numbered lines from a file or from stdin, some at a time, and never all of them."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner.errors import UsageError

LONGEST = 64 * 1024**2
"""Bytes of a line: what ``limits.params`` may be at most."""
PAUSE = 0.1
"""Seconds without a new line after which those that have come are dealt with, though they are few."""
_CHUNK = 64 * 1024


class Line(NamedTuple):
    """A line that is not blank; ``text`` is None if it is longer than :data:`LONGEST`. The first is number 1."""

    number: int
    text: bytes | None


@contextmanager
def opened(name: str) -> Iterator[int]:
    """Yield the descriptor of a file, or of stdin for ``-``.

    Raises:
        UsageError: it cannot be opened.
    """
    if name == "-":
        yield sys.stdin.fileno()
        return
    try:
        # Not a regular file alone: a shell writes <(command) as a pipe.
        file = Path(name).open("rb", buffering=0)  # noqa: SIM115 - what fails later is not about opening
    except OSError as error:
        raise _unreadable(name, error) from None
    with file:
        yield file.fileno()


def read_lines(descriptor: int, name: str, most: int) -> Iterator[list[Line]]:
    """Yield lines, ``most`` at a time; fewer at the end, and where the next one takes a while to come.

    Raises:
        UsageError: it cannot be read.
    """
    found: list[Line] = []
    pieces: list[bytes] = []
    number = size = 0
    data = b"\n"
    while data:
        if found and not select.select([descriptor], [], [], PAUSE)[0]:
            yield found
            found = []
        try:
            data = os.read(descriptor, _CHUNK)
        except OSError as error:
            raise _unreadable(name, error) from None
        # What stands behind the last line break is the beginning of a line, or at the end of the file a whole one.
        *whole, rest = data.split(b"\n") if data else (b"", b"")
        for each in whole:
            number += 1
            text = b"".join([*pieces, each]) if size + len(each) <= LONGEST else None
            pieces, size = [], 0
            if text is None or text.strip():
                found.append(Line(number, text))
            if len(found) == most:
                yield found
                found = []
        size += len(rest)
        pieces = [*pieces, rest] if rest and size <= LONGEST else pieces
    if found:
        yield found


def _unreadable(name: str, error: OSError) -> UsageError:
    return UsageError(f"{'stdin' if name == '-' else name} cannot be read: {error.strerror}")
