"""The format of the pipe between a taker and the collector.

Plain bytes are what the run wrote. Between them stand marks: a token that only this child and the collector know,
a letter, JSON, and the end of the line. A job that writes such bytes by chance, or on purpose, does not know the
token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

from runner.model.masking import Masker

BEGIN = "B"
"""An attempt begins: ``[run id, job, attempt]``, and a list of secrets, which are masked in all that follows. Without
it they are those of the last one that had it."""
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


def begin_mark(token: bytes, run_id: str, job: str, attempt: int) -> bytes:
    """Return the mark of an attempt whose secrets the collector has."""
    # There is one for each attempt; an encoder of JSON is made anew for each list.
    return token + f"{BEGIN}[{encode_basestring_ascii(run_id)},{encode_basestring_ascii(job)},{attempt}]\n".encode()


def mark(token: bytes, kind: str, value: Any) -> bytes:
    """Return a mark as it stands in the pipe."""
    return token + kind.encode() + _encode(value).encode() + b"\n"


REMEMBERED = 100
"""Secrets of earlier attempts that are masked still: what they left behind may go on writing."""


class Remembered:
    """The secrets of an attempt and of those before it, in one process, and what masks them."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()
        self.masker = Masker()

    def add(self, secrets: Sequence[str]) -> None:
        """Note those of an attempt that begins."""
        if tuple(secrets) == self._secrets[: len(secrets)]:
            return
        found = tuple(dict.fromkeys((*secrets, *self._secrets)))[: len(secrets) + REMEMBERED]
        if set(found) != set(self._secrets):
            self.masker = Masker(found)
        self._secrets = found


class Reader:
    """Takes the bytes of one pipe apart; secrets are masked in what it gives out."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._rest = b""
        self._shown: str | None = None
        """The state of an unfinished line that was already reported."""
        self._remembered = Remembered()

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """Yield ``("", [line, …])`` for what was written, and ``(kind, value)`` for marks, in order."""
        data = self._rest + data
        if b"\x1b[" in data:
            data = _TO_FIRST_COLUMN.sub(b"\r", data)
        whole, newline, self._rest = data.rpartition(b"\n")
        if newline:
            yield from self._take(whole)
        if len(self._rest) > LONGEST_LINE and self._token not in self._rest:
            self._forget_states()
            whole, self._rest = self._whole()
            if len(whole) > LONGEST_LINE:
                yield from self._take(whole)
            else:
                self._rest = whole + self._rest

    @property
    def redrawn(self) -> bool:
        """Whether the line that is being written goes back to its beginning, as that of a progress bar."""
        return b"\r" in self._rest and self._token not in self._rest

    def state(self) -> str | None:
        """Return the current state of a redrawn line, or None if it has not changed."""
        if not self.redrawn:
            return None
        self._forget_states()
        whole, begun = self._whole()
        if begun == b"%":
            # It may begin a character of a secret, but tells nothing of one, and most progress bars end with it.
            whole += begun
        [text] = self._lines_of(whole)[-1:]
        if text == self._shown:
            return None
        self._shown = text
        return text

    def _forget_states(self) -> None:
        """Keep of a redrawn line what it shows now."""
        if b"\r" not in self._rest:
            return
        whole, begun = self._whole()
        # Masked before it is cut: a secret may hold the character that goes back.
        before, back, now = self._remembered.masker.text(whole.decode("utf-8", "replace")).rpartition("\r")
        if back:
            self._rest = f"\r{latest(before)}\r{now}".encode() + begun

    def _whole(self) -> tuple[bytes, bytes]:
        """Return the line that is being written, in two parts.

        What may be the beginning of a secret, a mark or a character waits for the rest of it, and is the second one.
        """
        rest = self._rest
        cut = len(rest) - max(self._remembered.masker.begun(rest), begins(self._token, rest), incomplete(rest))
        return rest[:cut], rest[cut:]

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
            if len(value) > 3:
                self._remembered.add(value[3])
            return value[:3]
        if kind == RECORD:
            # A file name can contain bytes that are not text, and the ledger stores only UTF-8.
            text = self._remembered.masker.text(value[2])
            return [value[0], value[1], text.encode("utf-8", "backslashreplace").decode()]
        return value

    def _lines(self, data: bytes) -> list[str]:
        lines = self._lines_of(data)
        shown, self._shown = self._shown, None
        return lines[1:] if shown is not None and lines[0] == shown else lines

    def _lines_of(self, data: bytes) -> list[str]:
        return [latest(line) for line in self._remembered.masker.text(data.decode("utf-8", "replace")).split("\n")]


_TO_FIRST_COLUMN = re.compile(rb"\x1b\[[01]?G")
"""How some progress bars go back to the beginning of their line."""

_CLEARS = re.compile(r"(?:\x1b\[[0-9;?]*[A-Za-z]|\s)*")
"""What only moves the cursor, or wipes a line."""


def latest(line: str) -> str:
    """Return the last state of a line that is redrawn with carriage returns, as progress bars do."""
    if "\r" not in line:
        return line
    states = line.split("\r")
    return next((state for state in reversed(states) if not _CLEARS.fullmatch(state)), states[0])


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
    """Return the length of an incomplete UTF-8 character at the end of ``data``."""
    for size in range(1, min(3, len(data)) + 1):
        byte = data[-size]
        if byte >= 0xC0:
            return size if size < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else 0
        if byte < 0x80:
            return 0
    return 0


def begins(token: bytes, data: bytes) -> int:
    """Return the length of the longest beginning of ``token`` at the end of ``data``."""
    return next((size for size in range(min(len(token), len(data)), 0, -1) if data.endswith(token[:size])), 0)
