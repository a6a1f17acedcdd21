"""The taker's side of log capture: send all output of an attempt to one pipe."""

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
"""The requested pipe size (Linux, bytes), so that a burst does not make the job wait for the collector."""

KEEPING_SECONDS = 5.0
"""Seconds that the end of an attempt waits for its log to be written; longer if Redis is unreachable."""


class Capture:
    """The pipe of one taker, created in its process before its first attempt."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._token = b"\x1e" + token_hex(8).encode() + b":"
        # The reading end also stays open here, because a write must not fail when the worker has died. Otherwise the
        # job would fail in the moment before this process is ended.
        self._reading, self._pipe = os.pipe()
        self._identity = identity_of(self._pipe)
        self._answers, answering = os.pipe()
        os.set_blocking(self._answers, False)
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._sequence = 0
        self._unread = 0
        self._sent: tuple[str, ...] | None = None
        """The secrets that the collector certainly has; None if the next mark must include them."""
        self._count = array.array("i", [0])
        self._flush_c: Callable[[None], int] = ctypes.CDLL(None).fflush
        self._records = Records(self._pipe, self._token)
        self._worker_log = _worker_log()
        self._remembered = Remembered()
        self._streams = Streams(self._pipe)
        for handler in {id(handler): handler for log in self._worker_log for handler in log.handlers}.values():
            # A thread that a job leaves behind also logs here.
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
        """Capture the output in the block; after the block, it is stored with ``secrets`` masked.

        Args:
            run_id: the id of the run.
            job: the name of its job.
            number: the number of the attempt.
            secrets: the texts to mask in the output.
            changed: gets ``streams`` if the job has replaced a stream.
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
            # Again, because the job may have closed or redirected them, and its last output would go to the next run's
            # log.
            self._streams.turn()
            self._streams.flush()
            self._flush_c(None)
            self._turn_back()
            self._finish()

    @contextmanager
    def turned(self) -> Iterator[None]:
        """Set up this process as for an attempt in the block, without capturing."""
        self._turn_here()
        try:
            yield
        finally:
            self._turn_back()

    def share(self) -> None:
        """Leave the pipe to a fork of this process for the next attempt, with a unique number."""
        self._sequence = _following(self._sequence)
        self._sent = None

    def _begin(self, run_id: str, job: str, number: int, secrets: tuple[str, ...]) -> None:
        """Tell the collector the attempt of the following bytes, and its secrets unless the last mark had them."""
        self._remembered.add(secrets)
        if secrets == self._sent:
            _write(self._pipe, begin_mark(self._token, run_id, job, number))
            return
        self._sent = None
        data = mark(self._token, BEGIN, [run_id, job, number, secrets])
        _write(self._pipe, data)
        # A larger mark may be interrupted by output of a process that an earlier run left behind.
        if len(data) <= select.PIPE_BUF:
            self._sent = secrets

    # A soft timeout may interrupt either of these; the next call then repairs it.

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
        """Wait until the output is stored, so that everyone who sees the end of a run sees its whole log."""
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
        """Return whether nothing was read from or written to the pipe since the attempt began.

        The collector waits a moment before it reads, so this is True for most short runs without output.
        """
        if self._waiting(self._answers):
            # The collector has read from the beginning, so all bytes in the pipe are newer.
            return False
        return self._waiting(self._pipe) == self._unread

    def _waiting(self, pipe: int) -> int:
        """Return the number of unread bytes in a pipe."""
        fcntl.ioctl(pipe, termios.FIONREAD, self._count)
        return self._count[0]


def _following(sequence: int) -> int:
    """Return the next number, which identifies the collector's answer."""
    return sequence % 255 + 1


class Masked(logging.Formatter):
    """Masks the secrets of this process's attempts in its part of the worker's log."""

    def __init__(self, form: logging.Formatter | None, remembered: Remembered) -> None:
        super().__init__()
        self._form = form or logging.Formatter()
        self._remembered = remembered

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return self._remembered.masker.text(self._form.format(record))


class Records(logging.Handler):
    """Writes records of ``logging`` as marks, with their level and time."""

    def __init__(self, pipe: int, token: bytes) -> None:
        super().__init__()
        self._pipe = pipe
        self._token = token
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
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
    """A logger whose records go to a run's log, with its handlers for the worker's log.

    Handlers that a job adds stay, except those that print: they would write each line of later runs twice.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.handlers = [handler for handler in logger.handlers if _writes_to_worker_log(handler)]
        # The last handlers, between attempts and during one: few jobs add handlers.
        self._between: list[logging.Handler] | None = None
        self._during: list[logging.Handler] = []

    # In place, because setting an attribute of a logger triggers a check of all loggers (`runner/attempt/loggers.py`).

    def turn(self, records: Records) -> None:
        """Send all log records to the run's log."""
        now = self._logger.handlers
        if now != self._between:
            others = self._others()
            self._during, self._between = [*others, records], self._back(others)
        now[:] = self._during

    def turn_back(self) -> None:
        """Send all log records to the worker's log."""
        now = self._logger.handlers
        if self._between is not None and now == self._during:
            now[:] = self._between
            return
        now[:] = self._back(self._others())
        self._between = None

    def _back(self, others: list[logging.Handler]) -> list[logging.Handler]:
        return [*self.handlers, *(other for other in others if not _writes_to_worker_log(other))]

    def _others(self) -> list[logging.Handler]:
        return [
            handler
            for handler in self._logger.handlers
            if not isinstance(handler, Records) and handler not in self.handlers
        ]


def _worker_log() -> list[WorkerLog]:
    root, *more = [WorkerLog(logging.getLogger(name)) for name in (None, "celery", "celery.task")]
    return [root, *(log for log in more if log.handlers)]


def _writes_to_worker_log(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
        return False
    return handler.stream in (sys.__stderr__, sys.__stdout__, sys.stderr, sys.stdout)
