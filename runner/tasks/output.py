"""Pass a command's output on as it comes, and keep its tail."""

from __future__ import annotations

import codecs
import sys

LINE_LIMIT = 8192
"""Characters of a line without an end after which it is passed on all the same."""


class Output:
    """Takes the bytes that a command writes; memory stays bounded however many there are.

    Text is UTF-8; bytes that are not become U+FFFD. Whole lines are written to ``sys.stdout``, where a
    job's own ``print`` goes as well.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._size += len(data)
        self._tail += data[-self._limit :]
        del self._tail[: -self._limit]
        self._pass_on(self._decoder.decode(data))

    def end(self) -> None:
        """Pass on what is left of a last line without an end."""
        self._pass_on(self._decoder.decode(b"", final=True))
        if self._line:
            _write(self._line + "\n")
            self._line = ""

    @property
    def truncated(self) -> bool:
        """Whether :meth:`tail` is not all of it."""
        return self._size > self._limit

    def tail(self) -> str:
        """Return the end of the output: at most ``limit`` bytes, from the start of a line where there is one."""
        kept = bytes(self._tail)
        if self.truncated:
            start = kept.find(b"\n") + 1
            if 0 < start < len(kept):
                kept = kept[start:]
            else:
                # One endless line: skip the continuation bytes of a character that was cut in two.
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
        # A closed or full standard output is the worker's trouble, not the job's.
        return
