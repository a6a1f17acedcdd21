"""The standard streams of a taker's process: descriptors 0 to 2, and Python's text files above them.

A job may close, detach, wrap, or delete any of them. Each attempt finds whole text files, over descriptors that are put
back from copies: new ones if an earlier job has done more to its own than write, or still holds them. Between attempts
the worker has files of its own that no job has seen.

Descriptors 1 and 2 stay the pipe between attempts: a thread or a program that a job left behind may go on writing, and
what it writes is masked where the pipe is read. The worker's own log goes where they led before.
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
    """The streams of this process, of which 1 and 2 go into ``pipe``."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._own = [_copy(stream) for stream in range(3)]
        # No job may close these: they stand over the descriptors themselves.
        worker = {name: getattr(sys, name, None) for name in _DUNDERS}
        self._worker_stdout = worker["__stdout__"]
        self.turn()
        self._between = dict(zip(_NAMES, _Texts().files, strict=True)) | worker
        self._texts = _Texts()
        self.end()

    def turn(self) -> None:
        """Make descriptors 1 and 2 the pipe again, whatever became of them, and restore 0."""
        os.dup2(self._own[0], 0)
        # A job, or a program that it has started, may have changed what all copies of the pipe share.
        os.set_blocking(self._pipe, True)
        for stream in _OUTPUT:
            os.dup2(self._pipe, stream)

    def end(self) -> None:
        """Give the worker its own files; what is written there goes into the pipe as well."""
        vars(sys).update(self._between)

    def worker_log(self, stream: Any) -> TextIO:
        """Return a file that goes where ``stream``, which is one over 1 or 2, went before."""
        own = os.dup(self._own[1 if stream is self._worker_stdout else 2])
        return os.fdopen(own, "w", buffering=1, encoding="utf-8", errors="backslashreplace")

    def begin(self) -> None:
        """Give an attempt its files; the descriptors are turned already."""
        if not self._texts.are_as_new():
            self._texts = _Texts()
        vars(sys).update(self._texts.named)

    def changed(self) -> bool:
        """Whether the job has left others than it was given."""
        for name, text in zip(_NAMES, self._texts.files, strict=True):
            found: Any = getattr(sys, name, None)
            try:
                if found is not text or found.closed:
                    return True
            except ValueError:
                return True  # detached
        return False

    def flush(self) -> None:
        """Write what the job's files still hold."""
        texts = self._texts.files
        present = list(map(vars(sys).get, self._texts.named))
        if not all(map(is_, present, self._texts.named.values())):
            texts = tuple({id(each): each for each in (*present, *texts)}.values())
        for text in texts:
            # Anything at all may stand there.
            try:
                text.flush()
            except BaseException:
                if terminate_handler_fired():
                    raise
                # What it still holds is not for the next run.
                self._texts.spoil()


def _copy(stream: int) -> int:
    """Return a copy of a descriptor, or of nothing at all if it is closed."""
    try:
        return os.dup(stream)
    except OSError:
        # The lowest that is free, so it is this one or a higher one.
        null = os.open(os.devnull, os.O_RDWR)
        return os.dup(null)


class _Texts:
    """Text files over descriptors 0 to 2; those that are written hold no line back.

    What a killed process printed last is not lost. They are made while 1 and 2 are a pipe: one that is a file has a
    place in it, that would be looked for later.
    """

    def __init__(self) -> None:
        raws: list[Any] = [_Descriptor(number, mode, closefd=False) for number, mode in enumerate(_MODES)]
        reader, *writers = io.BufferedReader(raws[0]), *map(io.BufferedWriter, raws[1:])
        stdin = _Text(reader, encoding="utf-8", errors="replace")
        outputs = [_Text(each, encoding="utf-8", errors="backslashreplace", line_buffering=True) for each in writers]
        self.files: tuple[Any, ...] = (stdin, *outputs)
        self.named: dict[str, Any] = dict(zip((*_NAMES, *_DUNDERS), self.files * 2, strict=True))
        for text, mode in zip(self.files, _MODES, strict=True):
            text.mode = mode
        self._layers: list[Any] = [*self.files, reader, *writers, *raws]
        self._attributes = [vars(each) for each in self._layers]
        self._noted = [dict(each) for each in self._attributes]
        del raws, reader, writers, stdin, outputs, text
        self._holders = list(map(sys.getrefcount, self._layers))

    def spoil(self) -> None:
        """Make sure that no other attempt finds these streams."""
        self._noted = []

    def are_as_new(self) -> bool:
        """Whether a job that had them has at most written.

        Who holds one may close it later, or lets go of what closes it then, such as another file over its buffer.
        """
        try:
            # By no name here: that would hold each once more than is noted.
            if any(map(_is_closed, self.files)):
                return False
        except ValueError:
            return False  # detached
        return self._attributes == self._noted and list(map(sys.getrefcount, self._layers)) == self._holders


class _Text(io.TextIOWrapper):
    """A text file that remembers whether it was configured anew: not all of that can be asked for."""

    mode: str

    def reconfigure(self, **options: Any) -> None:
        """Change how text is written."""
        self._configured = True
        super().reconfigure(**options)


class _Descriptor(io.FileIO):
    """A descriptor that remembers whether it was read: what the files above it hold since is not the next job's."""

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
