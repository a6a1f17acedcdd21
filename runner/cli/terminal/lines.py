"""Reads numbered lines from a file or from stdin, in batches, never the whole file at once."""

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
"""The most bytes of a line: the upper bound of ``limits.params``."""
PAUSE = 0.1
"""Seconds without a new line after which a batch is yielded, even if it is not full."""
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
        # It may be a pipe, as for <(command) in a shell.
        file = Path(name).open("rb", buffering=0)  # noqa: SIM115 - only errors of opening it are caught here
    except OSError as error:
        raise _unreadable(name, error) from None
    with file:
        yield file.fileno()


def read_lines(descriptor: int, name: str, most: int) -> Iterator[list[Line]]:
    """Yield batches of at most ``most`` lines; fewer at the end, or if the next line is slow to come.

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
        # The text behind the last line break is the beginning of a line, or the whole last line of the file.
        *whole, rest = data.split(b"\n") if data else (b"", b"")
        for part in whole:
            number += 1
            text = b"".join([*pieces, part]) if size + len(part) <= LONGEST else None
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
