"""The taker's side: sends all that an attempt writes into one pipe."""

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex

from runner.attempt.capture.streams import Streams
from runner.attempt.capture.wire import BEGIN, END, RECORD, Remembered, begin_mark, mark
from runner.attempt.descriptors import identity_of

PIPE_BYTES = 1024 * 1024
"""Asked of the kernel (Linux), so that a burst does not make the job wait for the collector."""

KEEPING_SECONDS = 5.0
"""How long the end of an attempt waits until its log is kept; it comes later if Redis is away."""


class Capture:
    """The pipe of one taker. Made once in its process, before its first attempt."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._token = b"\x1e" + token_hex(8).encode() + b":"
        # The reading end stays open here as well: a write must not fail when the worker has died. The job would take
        # that for its own failure, in the moment before this process is ended.
        self._reading, self._pipe = os.pipe()
        self._identity = identity_of(self._pipe)
        self._answers, answering = os.pipe()
        os.set_blocking(self._answers, False)
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._sequence = 0
        self._unread = 0
        self._told: tuple[str, ...] | None = None
        """The secrets that the collector has for certain; None if the next mark has to name its own."""
        self._count = array.array("i", [0])
        self._flush_c: Callable[[None], int] = ctypes.CDLL(None).fflush
        self._records = Records(self._pipe, self._token)
        self._worker_log = _worker_log()
        self._remembered = Remembered()
        self._streams = Streams(self._pipe)
        for handler in {id(each): each for log in self._worker_log for each in log.handlers}.values():
            # A thread that a job leaves behind logs here as well.
            handler.setFormatter(Masked(handler.formatter, self._remembered))
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(self._streams.worker_log(handler.stream))
        introduction = json.dumps({"pid": os.getpid(), "token": self._token.decode()}).encode()
        socket.send_fds(control, [introduction], [self._reading, answering])
        os.close(answering)

    @contextmanager
    def attempt(
        self, run_id: str, job: str, number: int, secrets: Sequence[str] = (), changed: list[str] | None = None
    ) -> Iterator[None]:
        """Catch what is written until the block ends; when it has ended, that is kept, without ``secrets``.

        Args:
            run_id: of the run.
            job: its job.
            number: of the attempt.
            secrets: what is masked in all that is written.
            changed: is given the word ``streams`` if the job has left others than it found.
        """
        self._sequence = _following(self._sequence)
        if self._waiting(self._answers):
            os.read(self._answers, 4096)
        self._begin(run_id, job, number, tuple(secrets))
        self._unread = self._waiting(self._pipe)
        try:
            self._turn_here()
            yield
        finally:
            if identity_of(self._pipe) != self._identity:
                raise OSError("the job has closed the pipe of its log")
            if changed is not None and self._streams.changed():
                changed.append("streams")
            # Again, as the job may have closed or turned them: what it printed last would go into the next run's log.
            self._streams.turn()
            self._streams.flush()
            self._flush_c(None)
            self._turn_back()
            self._finish()

    @contextmanager
    def turned(self) -> Iterator[None]:
        """Let this process be in the block as an attempt finds it; nothing is caught."""
        self._turn_here()
        try:
            yield
        finally:
            self._turn_back()

    def share(self) -> None:
        """Leave the pipe to a fork of this process, for the next attempt: its number is that of no other."""
        self._sequence = _following(self._sequence)
        self._told = None

    def _begin(self, run_id: str, job: str, number: int, secrets: tuple[str, ...]) -> None:
        """Tell the collector whose the bytes are that follow, and its secrets if it was not told of them last."""
        self._remembered.add(secrets)
        if secrets == self._told:
            _write(self._pipe, begin_mark(self._token, run_id, job, number))
            return
        self._told = None
        data = mark(self._token, BEGIN, [run_id, job, number, secrets])
        _write(self._pipe, data)
        # A larger one may be damaged: something that an earlier run has left behind may write into the midst of it.
        if len(data) <= select.PIPE_BUF:
            self._told = secrets

    # A soft timeout may break either of these off; the next one then puts right what was left undone.

    def _turn_here(self) -> None:
        self._streams.turn()
        self._streams.begin()
        for log in self._worker_log:
            log.turn(self._records)

    def _turn_back(self) -> None:
        self._streams.end()
        for log in self._worker_log:
            log.turn_back()

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
        if self._waiting(self._answers):
            # The collector has read of the beginning: what is in the pipe now came later, however much it is.
            return False
        return self._waiting(self._pipe) == self._unread

    def _waiting(self, pipe: int) -> int:
        """Return the number of unread bytes in a pipe."""
        fcntl.ioctl(pipe, termios.FIONREAD, self._count)
        return self._count[0]


def _following(sequence: int) -> int:
    """Return the next number by which the collector's answers are told apart."""
    return sequence % 255 + 1


class Masked(logging.Formatter):
    """Takes the secrets of this process's attempts out of its part of the worker's own log."""

    def __init__(self, form: logging.Formatter | None, remembered: Remembered) -> None:
        super().__init__()
        self._form = form or logging.Formatter()
        self._remembered = remembered

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return self._remembered.masker.text(self._form.format(record))


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


class WorkerLog:
    """A logger whose records a run's log takes, and its handlers that write to the worker's own log.

    Handlers that a job adds for itself stay, but not those that print: they would write each line of later runs twice.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.handlers = [each for each in logger.handlers if _writes_to_worker_log(each)]
        # What the logger had last, between attempts and during one: hardly any job adds a handler.
        self._between: list[logging.Handler] | None = None
        self._during: list[logging.Handler] = []

    # In place: who sets an attribute of a logger has all of them looked at (`runner/attempt/loggers.py`).

    def turn(self, records: Records) -> None:
        """Send all log records to the run's log."""
        now = self._logger.handlers
        if now != self._between:
            others = self._others()
            self._during, self._between = [*others, records], self._back(others)
        now[:] = self._during

    def turn_back(self) -> None:
        """Send all log records to the worker's own log."""
        now = self._logger.handlers
        if self._between is not None and now == self._during:
            now[:] = self._between
            return
        now[:] = self._back(self._others())
        self._between = None

    def _back(self, others: list[logging.Handler]) -> list[logging.Handler]:
        return [*self.handlers, *(each for each in others if not _writes_to_worker_log(each))]

    def _others(self) -> list[logging.Handler]:
        return [each for each in self._logger.handlers if not isinstance(each, Records) and each not in self.handlers]


def _worker_log() -> list[WorkerLog]:
    root, *more = [WorkerLog(logging.getLogger(name)) for name in (None, "celery", "celery.task")]
    return [root, *(each for each in more if each.handlers)]


def _writes_to_worker_log(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
        return False
    return handler.stream in (sys.__stderr__, sys.__stdout__, sys.stderr, sys.stdout)
