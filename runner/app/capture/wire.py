"""What passes through the pipe between a pool child and the collector.

Plain bytes are what the run wrote. Between them stand marks: a token that only this child and the collector know,
a letter, JSON, and the end of the line. A job that writes such bytes by chance, or on purpose, does not know the
token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from runner.model.masking import Masker

BEGIN = "B"
"""An attempt begins: ``[run id, job, attempt, secrets]``; these are masked in all that follows."""
END = "E"
"""It has ended: a number from 1 to 255, which the collector answers with once all of it is kept."""
HAS_BEGUN = 0
"""What the collector answers when it has read that an attempt begins."""
RECORD = "R"
"""A record of ``logging``: ``[Unix ms, level, text]``."""

LONGEST_LINE = 16 * 1024
"""Bytes of a line, and of a record's text; a longer one is taken for several."""


_encode = json.JSONEncoder(separators=(",", ":")).encode
"""Made once: a job may write a hundred thousand records."""


def mark(token: bytes, kind: str, value: Any) -> bytes:
    """Return a mark as it stands in the pipe."""
    return token + kind.encode() + _encode(value).encode() + b"\n"


REMEMBERED = 100
"""Secrets of earlier attempts that are masked still: what they left behind may go on writing."""


class Reader:
    """Takes the bytes of one pipe apart; secrets are masked in what it gives out."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._rest = b""
        self._secrets: tuple[str, ...] = ()
        self._masker = Masker()

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """Yield ``("", [line, …])`` for what was written, and ``(kind, value)`` for marks, in order."""
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        if newline:
            yield from self._take(whole)
        if len(self._rest) > LONGEST_LINE and self._token not in self._rest:
            # What may be the beginning of a secret, a mark or a character waits for the rest of it.
            kept = max(self._masker.begun(self._rest), begins(self._token, self._rest), incomplete(self._rest))
            if kept < len(self._rest):
                cut = len(self._rest) - kept
                rest, self._rest = self._rest[:cut], self._rest[cut:]
                yield from self._take(rest)

    def end(self) -> Iterator[tuple[str, Any]]:
        """Yield a last line without an end."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._take(rest)

    def _take(self, data: bytes) -> Iterator[tuple[str, Any]]:
        before, *marked = data.split(self._token)
        if not marked:
            yield "", self._lines(before)
            return
        if before:
            yield "", self._lines(before.removesuffix(b"\n"))
        for number, part in enumerate(marked, 1):
            head, newline, after = part.partition(b"\n")
            try:
                yield head[:1].decode(), self._read(head[:1].decode(), json.loads(head[1:]))
            except ValueError:
                # Two writers at once, and a mark larger than a pipe takes in one go.
                yield "", self._lines(head)
            if number == len(marked) and newline:
                yield "", self._lines(after)
            elif after:
                yield "", self._lines(after.removesuffix(b"\n"))

    def _read(self, kind: str, value: Any) -> Any:
        if kind == BEGIN:
            secrets = tuple(dict.fromkeys((*value[3], *self._secrets)))[: len(value[3]) + REMEMBERED]
            if set(secrets) != set(self._secrets):
                self._masker = Masker(secrets)
            self._secrets = secrets
            return value[:3]
        if kind == RECORD:
            # A file's name may hold bytes that are no text, and Redis takes UTF-8 only.
            return [value[0], value[1], self._masker.text(value[2]).encode("utf-8", "backslashreplace").decode()]
        return value

    def _lines(self, data: bytes) -> list[str]:
        text = self._masker.text(data.decode("utf-8", "replace"))
        return text.replace("\r\n", "\n").removesuffix("\r").split("\n")


def pieces(text: str, longest: int = LONGEST_LINE) -> list[str]:
    """Return ``text`` in pieces of at most ``longest`` bytes of UTF-8, cut between characters; mostly it is one."""
    # No character takes more than four.
    if len(text) * 4 <= longest:
        return [text]
    data = text.encode()
    found, start = [], 0
    while len(data) - start > longest:
        end = start + longest
        end -= incomplete(data[max(start, end - 3) : end])
        found.append(data[start:end].decode())
        start = end
    return [*found, data[start:].decode()]


def incomplete(data: bytes) -> int:
    """Return how many bytes at the end of ``data`` begin a character of UTF-8 whose last ones are missing."""
    for size in range(1, min(3, len(data)) + 1):
        byte = data[-size]
        if byte >= 0xC0:
            return size if size < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else 0
        if byte < 0x80:
            return 0
    return 0


def begins(token: bytes, data: bytes) -> int:
    """Return how many bytes at the end of ``data`` may be the beginning of ``token``."""
    return next((size for size in range(min(len(token), len(data)), 0, -1) if data.endswith(token[:size])), 0)
