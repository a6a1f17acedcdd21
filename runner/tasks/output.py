"""Pass the output of a command on as it arrives, and keep its end."""

from __future__ import annotations

import codecs
import sys

LINE_LIMIT = 8192
"""The number of characters after which a line without a line break is passed on anyway."""


class Output:
    """Receives the output of a command, in bounded memory.

    Text is decoded as UTF-8; invalid bytes become U+FFFD. Whole lines are written to ``sys.stdout``, like the output
    of a job's own ``print``.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def feed(self, data: bytes) -> None:
        """Add the next chunk of bytes."""
        self._size += len(data)
        self._tail += data[-self._limit :]
        del self._tail[: -self._limit]
        self._pass_on(self._decoder.decode(data))

    def end(self) -> None:
        """Pass on a last line without a line break."""
        self._pass_on(self._decoder.decode(b"", final=True))
        if self._line:
            _write(self._line + "\n")
            self._line = ""

    @property
    def truncated(self) -> bool:
        """Return whether :meth:`tail` is only a part of the output."""
        return self._size > self._limit

    def tail(self) -> str:
        """Return the end of the output: at most ``limit`` bytes, beginning at the start of a line if there is one."""
        kept = bytes(self._tail)
        if self.truncated:
            start = kept.find(b"\n") + 1
            if 0 < start < len(kept):
                kept = kept[start:]
            else:
                # One very long line, whose start was dropped: skip the rest of a character that was cut in two.
                while kept and kept[0] & 0xC0 == 0x80 and len(self._tail) - len(kept) < 4:
                    kept = kept[1:]
        return kept.decode("utf-8", "replace")

    def _pass_on(self, text: str) -> None:
        lines, newline, rest = text.rpartition("\n")
        if newline:
            _write(self._line + lines + newline)
            self._line = rest
        else:
            self._line += text
        if len(self._line) > LINE_LIMIT:
            _write(self._line)
            self._line = ""


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        # A closed or full standard output is a problem of the worker, not of the job.
        return
