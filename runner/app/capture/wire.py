"""What passes through the pipe between a pool child and the collector.

Plain bytes are what the run wrote. Between them stand marks: a token that only this child and the collector know,
a letter, JSON, and the end of the line. A job that writes such bytes by chance, or on purpose, does not know the
token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

BEGIN = "B"
"""An attempt begins: ``[run id, job, attempt]``."""
END = "E"
"""It has ended: a sequence number, which the collector answers with once all of it is kept."""
RECORD = "R"
"""A record of ``logging``: ``[Unix ms, level, text]``."""

LONGEST_LINE = 16 * 1024
"""Bytes of a line; a longer one is taken for several."""


def mark(token: bytes, kind: str, value: Any) -> bytes:
    """Return a mark as it stands in the pipe."""
    return token + kind.encode() + json.dumps(value, separators=(",", ":")).encode() + b"\n"


class Reader:
    """Takes the bytes of one pipe apart."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """Yield ``("", [line, …])`` for what was written, and ``(kind, value)`` for marks, in order."""
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        if newline:
            yield from self._take(whole)
        if len(self._rest) > LONGEST_LINE and self._token not in self._rest:
            rest, self._rest = self._rest, b""
            yield from self._take(rest)

    def end(self) -> Iterator[tuple[str, Any]]:
        """Yield a last line without an end."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._take(rest)

    def _take(self, data: bytes) -> Iterator[tuple[str, Any]]:
        before, *marked = data.split(self._token)
        if not marked:
            yield "", _lines(before)
            return
        if before:
            yield "", _lines(before.removesuffix(b"\n"))
        for number, part in enumerate(marked, 1):
            head, newline, after = part.partition(b"\n")
            try:
                yield head[:1].decode(), json.loads(head[1:])
            except ValueError:
                # Two writers at once, and a mark larger than a pipe takes in one go.
                yield "", _lines(head)
            if number == len(marked) and newline:
                yield "", _lines(after)
            elif after:
                yield "", _lines(after.removesuffix(b"\n"))


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "replace").split("\n")
    if len(data) <= LONGEST_LINE:
        return lines
    return [line[i : i + LONGEST_LINE] for line in lines for i in range(0, max(1, len(line)), LONGEST_LINE)]
