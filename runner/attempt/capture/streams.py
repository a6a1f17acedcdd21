"""The standard streams of a taker's process: descriptors 0 to 2, and Python's text files above them.

A job may close, detach, wrap, or delete any of them. Each attempt gets intact text files, over descriptors that are
restored from copies. The files are new if an earlier job did more with them than write, or still holds them. Between
attempts, the worker uses separate files that no job has seen.

Descriptors 1 and 2 stay connected to the pipe between attempts, because a thread or a program that a job left behind
may go on writing, and its output is masked where the pipe is read. The worker's log goes to their original target.
"""

from __future__ import annotations

import io
import os
import sys
from operator import attrgetter, is_
from typing import Any, TextIO

from billiard.common import terminate_handler_fired

_is_closed = attrgetter("closed")
_NAMES = ("stdin", "stdout", "stderr")
_DUNDERS = ("__stdin__", "__stdout__", "__stderr__")
_OUTPUT = (1, 2)
_MODES = "rww"


class Streams:
    """The streams of this process; 1 and 2 go to ``pipe``."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._own = [_copy(stream) for stream in range(3)]
        # No job may close these: they use the descriptors themselves.
        worker = {name: getattr(sys, name, None) for name in _DUNDERS}
        self._worker_stdout = worker["__stdout__"]
        self.turn()
        self._between = dict(zip(_NAMES, _Texts().files, strict=True)) | worker
        self._texts = _Texts()
        self.end()

    def turn(self) -> None:
        """Connect descriptors 1 and 2 to the pipe again, and restore 0, whatever happened to them."""
        os.dup2(self._own[0], 0)
        # A job or its programs may have changed the file status flags, which all copies of the pipe share.
        os.set_blocking(self._pipe, True)
        for stream in _OUTPUT:
            os.dup2(self._pipe, stream)

    def end(self) -> None:
        """Install the worker's files, whose output also goes to the pipe."""
        vars(sys).update(self._between)

    def worker_log(self, stream: Any) -> TextIO:
        """Return a file for the original target of ``stream`` (over descriptor 1 or 2)."""
        own = os.dup(self._own[1 if stream is self._worker_stdout else 2])
        return os.fdopen(own, "w", buffering=1, encoding="utf-8", errors="backslashreplace")

    def begin(self) -> None:
        """Install the files of an attempt; the descriptors are redirected already."""
        if not self._texts.are_as_new():
            self._texts = _Texts()
        vars(sys).update(self._texts.named)

    def changed(self) -> bool:
        """Return whether the job has replaced or changed its files."""
        for name, text in zip(_NAMES, self._texts.files, strict=True):
            found: Any = getattr(sys, name, None)
            try:
                if found is not text or found.closed:
                    return True
            except ValueError:
                return True  # detached
        return False

    def flush(self) -> None:
        """Flush the job's files."""
        texts = self._texts.files
        present = list(map(vars(sys).get, self._texts.named))
        if not all(map(is_, present, self._texts.named.values())):
            texts = tuple({id(text): text for text in (*present, *texts)}.values())
        for text in texts:
            # It may be any object.
            try:
                text.flush()
            except BaseException:
                if terminate_handler_fired():
                    raise
                # Its unread data is not for the next run.
                self._texts.spoil()


def _copy(stream: int) -> int:
    """Return a copy of a descriptor, or of ``/dev/null`` if it is closed."""
    try:
        return os.dup(stream)
    except OSError:
        # The lowest free number, so it is this one or a higher one.
        null = os.open(os.devnull, os.O_RDWR)
        return os.dup(null)


class _Texts:
    """Text files over descriptors 0 to 2, with line buffering for output.

    So the last output of a killed process is not lost. They are created while 1 and 2 are a pipe: over a regular file,
    they would depend on its position.
    """

    def __init__(self) -> None:
        raws: list[Any] = [_Descriptor(number, mode, closefd=False) for number, mode in enumerate(_MODES)]
        reader, *writers = io.BufferedReader(raws[0]), *map(io.BufferedWriter, raws[1:])
        stdin = _Text(reader, encoding="utf-8", errors="replace")
        outputs = [
            _Text(writer, encoding="utf-8", errors="backslashreplace", line_buffering=True) for writer in writers
        ]
        self.files: tuple[Any, ...] = (stdin, *outputs)
        self.named: dict[str, Any] = dict(zip((*_NAMES, *_DUNDERS), self.files * 2, strict=True))
        for text, mode in zip(self.files, _MODES, strict=True):
            text.mode = mode
        self._layers: list[Any] = [*self.files, reader, *writers, *raws]
        self._attributes = [vars(layer) for layer in self._layers]
        self._noted = [dict(attribute) for attribute in self._attributes]
        del raws, reader, writers, stdin, outputs, text
        self._holders = list(map(sys.getrefcount, self._layers))

    def spoil(self) -> None:
        """Make sure that no other attempt uses these streams."""
        self._noted = []

    def are_as_new(self) -> bool:
        """Return whether a job has done nothing but write to them.

        Code that still holds one of them may close it later, also indirectly, such as through another file over its
        buffer.
        """
        try:
            # Without a local name, which would add a reference.
            if any(map(_is_closed, self.files)):
                return False
        except ValueError:
            return False  # detached
        return self._attributes == self._noted and list(map(sys.getrefcount, self._layers)) == self._holders


class _Text(io.TextIOWrapper):
    """A text file that records whether it was reconfigured, since not all options can be read."""

    mode: str

    def reconfigure(self, **options: Any) -> None:
        """Change how text is written."""
        self._configured = True
        super().reconfigure(**options)


class _Descriptor(io.FileIO):
    """A descriptor that records whether it was read: data in buffers above it is not for the next job."""

    def readinto(self, buffer: Any) -> int | None:
        """Read into a buffer."""
        self._read = True
        return super().readinto(buffer)

    def readall(self) -> bytes:
        """Read all there is."""
        self._read = True
        return super().readall()

    def read(self, size: int | None = -1) -> bytes:
        """Read."""
        self._read = True
        return super().read(size)
