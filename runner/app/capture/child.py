"""The pool child's side: sends all that an attempt writes into one pipe."""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import select
import socket
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import TextIO

from runner.app.capture.wire import BEGIN, END, RECORD, mark

PIPE_BYTES = 1024 * 1024
"""Asked of the kernel (Linux), so that a burst does not make the job wait for the collector."""

KEEPING_SECONDS = 5.0
"""How long the end of an attempt waits until its log is kept; it comes later if Redis is away."""

_STREAMS = (1, 2)


class Capture:
    """The pipe of one pool child. Made once in the child, before its first attempt."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._token = b"\x1e" + token_hex(8).encode() + b":"
        reading, self._pipe = os.pipe()
        self._answers, answering = os.pipe()
        os.set_blocking(self._answers, False)
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._sequence = 0
        self._unread = 0
        self._own = [os.dup(stream) for stream in _STREAMS]
        self._libc = ctypes.CDLL(None)
        self._records = Records(self._pipe, self._token)
        self._worker_log = _worker_log()
        self._texts: list[TextIO] = [self._text(stream) for stream in _STREAMS]
        sys.stdout, sys.stderr = self._texts
        introduction = json.dumps({"pid": os.getpid(), "token": self._token.decode()}).encode()
        socket.send_fds(control, [introduction], [reading, answering])
        os.close(reading)
        os.close(answering)

    def _text(self, stream: int) -> TextIO:
        """Return a text file for ``print`` that holds no line back: what a killed process printed last is not lost."""
        # Made while the stream is a pipe: one that is a file has a place in it, that would be looked for later.
        os.dup2(self._pipe, stream)
        text = open(stream, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.dup2(self._own[_STREAMS.index(stream)], stream)
        return text

    @contextmanager
    def attempt(self, run_id: str, job: str, number: int, secrets: Sequence[str] = ()) -> Iterator[None]:
        """Catch what is written until the block ends; when it has ended, that is kept, without ``secrets``."""
        self._sequence = self._sequence % 255 + 1
        with contextlib.suppress(BlockingIOError):
            os.read(self._answers, 4096)
        _write(self._pipe, mark(self._token, BEGIN, [run_id, job, number, list(secrets)]))
        self._unread = self._waiting()
        self._texts = [sys.stdout, sys.stderr]
        try:
            self._turn_here()
            yield
        finally:
            # Again, as the job may have closed or turned them: what it printed last would go into the next run's log.
            self._turn_streams()
            self._flush()
            self._turn_back()
            self._put_back()
            self._finish()

    # A soft timeout may break either of these off; the next one then puts right what was left undone.

    def _turn_streams(self) -> None:
        for stream in _STREAMS:
            os.dup2(self._pipe, stream)

    def _turn_here(self) -> None:
        self._turn_streams()
        for logger, handlers in self._worker_log.items():
            logger.handlers = [*(each for each in _others(logger) if each not in handlers), self._records]

    def _turn_back(self) -> None:
        for stream, own in zip(_STREAMS, self._own, strict=True):
            os.dup2(own, stream)
        for logger, handlers in self._worker_log.items():
            added = (each for each in _others(logger) if each not in handlers and not _writes_to_worker_log(each))
            logger.handlers = [*handlers, *added]

    def _put_back(self) -> None:
        """Make ``print`` write where it did before: what a job did to its streams is no other job's trouble."""
        sys.stdout, sys.stderr = (
            self._text(stream) if text is None or text.closed else text
            for stream, text in zip(_STREAMS, self._texts, strict=True)
        )

    def _flush(self) -> None:
        for text in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                text.flush()  # type: ignore[union-attr]
        self._libc.fflush(None)

    def _finish(self) -> None:
        """Wait until what was written is kept: whoever sees the end of a run sees its whole log."""
        if self._wrote_nothing():
            return
        os.write(self._pipe, mark(self._token, END, self._sequence))
        with contextlib.suppress(OSError):
            self._control.send(b"wake")
        deadline = time.monotonic() + KEEPING_SECONDS
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000):
                answers = os.read(self._answers, 4096)
                if not answers or self._sequence in answers:
                    return

    def _wrote_nothing(self) -> bool:
        """Whether nothing was read from the pipe, and nothing written into it, since the attempt began.

        The collector lets a pipe be for a moment before it reads, so most short runs that write nothing find it so.
        """
        try:
            # The collector has read of the beginning: what is in the pipe now came later, however much it is.
            os.read(self._answers, 4096)
        except BlockingIOError:
            return self._waiting() == self._unread
        return False

    def _waiting(self) -> int:
        """Return how many bytes are in the pipe."""
        count = array.array("i", [0])
        fcntl.ioctl(self._pipe, termios.FIONREAD, count)
        return count[0]


class Records(logging.Handler):
    """Writes records of ``logging`` as marks, so that their level and time are kept."""

    def __init__(self, pipe: int, token: bytes) -> None:
        super().__init__()
        self._pipe = pipe
        self._token = token
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        try:
            value = [int(record.created * 1000), record.levelname, self.format(record)]
            data = mark(self._token, RECORD, value)
            _write(self._pipe, data)
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)


def _write(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]


def _worker_log() -> dict[logging.Logger, list[logging.Handler]]:
    """Return the loggers whose records a run's log takes, each with its handlers that write to the worker's own log.

    Handlers that a job adds for itself stay, but not those that print: they would write each line of later runs twice.
    """
    found = {logging.getLogger(): [each for each in logging.getLogger().handlers if _writes_to_worker_log(each)]}
    for name in ("celery", "celery.task"):
        logger = logging.getLogger(name)
        if handlers := [each for each in logger.handlers if _writes_to_worker_log(each)]:
            found[logger] = handlers
    return found


def _others(logger: logging.Logger) -> list[logging.Handler]:
    return [each for each in logger.handlers if not isinstance(each, Records)]


def _writes_to_worker_log(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
        return False
    return handler.stream in (sys.__stderr__, sys.__stdout__, sys.stderr, sys.stdout)
