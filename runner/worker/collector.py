"""The worker's side of log capture: read the pipes of all takers and write the lines to the ledger.

One thread reads at most 25 times a second, however much is written, and sends the lines in chunks. A run that ends does
not wait: its child requests that its log is written at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celery.utils.log import get_logger

from runner.attempt.capture.wire import BEGIN, END, HAS_BEGUN, LONGEST_LINE, RECORD, Reader, pieces
from runner.errors import RunnerError, WriteRefused
from runner.ledger.ledger import Ledger
from runner.ledger.run_log import RunLog
from runner.settings.options import Limits
from runner.worker.echo import Echo
from runner.worker.window import Window

log = get_logger(__name__)

REST_SECONDS = 0.04
"""Seconds between the first output of a child and reading the pipes: output often comes in bursts."""

KEEP_SECONDS = 0.2
"""Seconds for which lines are gathered before they are sent."""

REDRAWN_SECONDS = (1.0, 10.0)
"""Seconds until the state of a line that a job redraws, such as a progress bar, is recorded. The interval doubles each
time, up to the second figure."""

CHUNK_BYTES = 32 * 1024
READ_BYTES = 256 * 1024
FLUSH_SECONDS = 5.0
"""Timeout of :meth:`Collector.flush` (seconds)."""

Line = tuple[int, str | None, str]


@dataclass(slots=True)
class AttemptLog:
    """The unsent output of one attempt."""

    run_id: str
    job: str
    attempt: int
    window: Window
    last: int = 0
    number: int = 1
    since: float = 0.0
    waiting: deque[Line] = field(default_factory=deque)
    waiting_bytes: int = 0

    def take(self, lines: list[Line]) -> None:
        """Add lines."""
        if not self.waiting:
            self.since = time.monotonic()
        for at, level, text in lines:
            # Output gets the time of reading, a log record the time of its creation; the order takes precedence.
            self.last = max(self.last, at)
            self.waiting.append((self.last, level, text))
            self.waiting_bytes += _size(text)

    def drop(self) -> None:
        """Drop the waiting lines."""
        self.number += len(self.waiting)
        self.waiting.clear()
        self.waiting_bytes = 0

    def shorten(self) -> None:
        """Keep only the last lines, as many as the log would keep, because Redis is unreachable."""
        while self.waiting_bytes > self.window.most_bytes or len(self.waiting) > self.window.most_lines:
            _, _, text = self.waiting.popleft()
            self.waiting_bytes -= _size(text)
            self.number += 1

    def keep(self, log_of: RunLog) -> None:
        """Send the waiting lines.

        Raises:
            Unavailable: Redis is unreachable; unsent lines stay.
        """
        while self.waiting:
            chunk, data = self._chunk()
            dropped = self.window.make_room(len(data), len(chunk))
            self.window.add(log_of.append(self.attempt, self.number, data, dropped), len(data), len(chunk))
            for _ in chunk:
                _, _, text = self.waiting.popleft()
                self.waiting_bytes -= _size(text)
            self.number += len(chunk)

    def _chunk(self) -> tuple[list[Line], bytes]:
        """Return the first waiting lines that fit into one chunk, and their JSON."""
        chunk: list[Line] = []
        most, size = min(CHUNK_BYTES, self.window.most_bytes // 8), 0
        for line in self.waiting:
            size += _size(line[2])
            if chunk and (size > most or len(chunk) >= self.window.most_lines // 2):
                break
            chunk.append(line)
        while True:
            data = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
            # Control characters take six times as much space in JSON.
            if len(chunk) == 1 or len(data) <= self.window.most_bytes // 4:
                return chunk, data
            chunk = chunk[: len(chunk) // 2]


def _size(text: str) -> int:
    return (len(text) if text.isascii() else len(text.encode())) + 32


class Source:
    """The pipe of one taker, and the attempt that writes to it."""

    def __init__(self, pid: int, token: bytes, pipe: int, answering: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.ended = False
        self.drained = True
        self.owed: int | None = None
        """The attempt whose child waits until its log is written."""
        self.current: AttemptLog | None = None
        self.show_at: float | None = None
        """The time at which the state of a redrawn line is recorded."""
        self._show_after = REDRAWN_SECONDS[0]
        self._answering = answering
        self._reader = Reader(token)
        for descriptor in (pipe, answering):
            os.set_blocking(descriptor, False)

    def read(self) -> list[tuple[str, Any]]:
        """Return the data in the pipe; at its end, ``ended`` is True."""
        found: list[tuple[str, Any]] = []
        self.drained = False
        # Bounded, so that a child that writes without end does not keep the others waiting.
        for _ in range(8):
            try:
                data = os.read(self.pipe, READ_BYTES)
            except BlockingIOError:
                self.drained = True
                break
            if not data:
                self.ended = self.drained = True
                found.extend(self._reader.end())
                break
            found.extend(self._reader.feed(data))
        if not self._reader.redrawn:
            self.show_at, self._show_after = None, REDRAWN_SECONDS[0]
        elif self.show_at is None:
            self.show_at = time.monotonic() + self._show_after
        elif self.show_at <= time.monotonic():
            if (state := self._reader.state()) is not None:
                found.append(("", [state]))
            self.show_at, self._show_after = None, min(self._show_after * 2, REDRAWN_SECONDS[1])
        return found

    def discard(self) -> None:
        """Drop the waiting lines."""
        if self.current is not None:
            self.current.drop()

    def answer(self, sequence: int) -> None:
        """Tell the child that the output of its attempt is written."""
        with contextlib.suppress(OSError):
            os.write(self._answering, bytes([sequence]))

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.pipe)
        os.close(self._answering)


class Collector(threading.Thread):
    """Writes the output of runs to the ledger. Created before the template, whose takers inherit :attr:`control`."""

    def __init__(self, open_ledger: Callable[[], Ledger], limits: Limits, echo: Echo) -> None:
        super().__init__(name="runner-logs", daemon=True)
        self._open_ledger = open_ledger
        self._limits = limits
        # As JSON, a line may take six times as much space, which is still less than half of the log.
        self._longest = min(LONGEST_LINE, limits.log // 16)
        self._echo = echo
        self._ear, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._poller = select.poll()
        self._poller.register(self._ear, select.POLLIN)
        self._sources: dict[int, Source] = {}
        self._flushes: deque[tuple[int, threading.Event]] = deque()
        self._over = False
        self._away = False
        self._retry_at = 0.0
        self._ledger: Ledger | None = None

    # -- from other threads

    def flush(self, pid: int) -> None:
        """Return once the output of a dead child is written, or Redis was unreachable for some seconds."""
        done = threading.Event()
        self._flushes.append((pid, done))
        self._wake()
        done.wait(FLUSH_SECONDS)

    def end(self) -> None:
        """Write the remaining output, and end the thread."""
        self._over = True
        self._wake()
        self.join(FLUSH_SECONDS)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self.control.send(b"wake")

    # -- the thread

    def run(self) -> None:
        """Read and write output until the worker ends."""
        while True:
            over = self._over
            try:
                self._turn()
            except Exception:
                log.exception("the logs of runs are not collected for a moment")
                time.sleep(REST_SECONDS)
            if over:
                return

    def _turn(self) -> None:
        if not self._over:
            self._selector.select(self._patience())
            self._rest()
        self._listen()
        for source in list(self._sources.values()):
            try:
                self._collect(source)
            except Exception:
                # Output that cannot be written is dropped, or it would block everything after it.
                log.exception("part of the log of a run is lost")
                source.discard()
        self._answer_flushes()

    def _patience(self) -> float | None:
        if self._flushes or any(not source.drained for source in self._sources.values()):
            return 0.0
        if self._away:
            return max(0.0, self._retry_at - time.monotonic())
        sources = self._sources.values()
        due = [source.current.since + KEEP_SECONDS for source in sources if source.current and source.current.waiting]
        due += [source.show_at for source in sources if source.show_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _rest(self) -> None:
        """Let lines gather, unless a child waits."""
        if all(source.drained for source in self._sources.values()):
            self._poller.poll(REST_SECONDS * 1000)

    def _listen(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._ear, 1024, 2)
            except BlockingIOError:
                return
            if descriptors:
                introduction = json.loads(data)
                source = Source(introduction["pid"], introduction["token"].encode(), *descriptors)
                self._sources[source.pipe] = source
                self._selector.register(source.pipe, selectors.EVENT_READ, source)

    def _collect(self, source: Source) -> None:
        try:
            self._take_in(source)
        except Exception:
            # A line that cannot be kept must not stop the log of this run and of the others.
            log.exception("some of what a run wrote is not kept")
            if source.current is not None:
                source.current.drop()
        current = source.current
        if source.owed is not None and (current is None or not current.waiting):
            source.answer(source.owed)
            source.owed = None
        if source.ended and (current is None or not current.waiting or self._over):
            self._selector.unregister(source.pipe)
            del self._sources[source.pipe]
            source.close()

    def _take_in(self, source: Source) -> None:
        lines: list[Line] = []
        answered = False
        for kind, value in source.read():
            if kind in (BEGIN, END):
                # Everything between two of these is passed on at once, because it may be thousands of records.
                self._take(source, lines)
                lines = []
            if kind == BEGIN:
                self._close(source)
                run_id, job, attempt = value
                window = Window(self._limits.log, self._limits.log_lines)
                source.current = AttemptLog(run_id, job, attempt, window)
                if not answered:
                    # If several were read at once, all but the last have ended already.
                    source.answer(HAS_BEGUN)
                    answered = True
            elif kind == END:
                source.owed = value
            elif kind == RECORD:
                at, level, text = value
                lines += [(at, level, piece) for piece in pieces(text, self._longest)]
            else:
                now = int(time.time() * 1000)
                lines += [(now, None, piece) for text in value for piece in pieces(text, self._longest)]
        self._take(source, lines)
        current = source.current
        if current is not None and current.waiting:
            due = time.monotonic() - current.since >= KEEP_SECONDS or current.waiting_bytes >= CHUNK_BYTES
            if due or source.ended or source.owed is not None:
                self._keep(current)

    def _take(self, source: Source, lines: list[Line]) -> None:
        if not lines:
            return
        current = source.current
        if current is None:
            # Written outside of any attempt, by a thread that an earlier attempt left behind.
            self._echo.plain([text for _, _, text in lines])
            return
        self._echo.lines(current.run_id, current.job, current.attempt, lines)
        current.take(lines)
        if current.waiting_bytes >= CHUNK_BYTES and not self._keep(current):
            current.shorten()

    def _close(self, source: Source) -> None:
        """Begin another attempt: this is the last chance to write the output of the one before."""
        if source.current is not None and source.current.waiting:
            self._keep(source.current)

    def _keep(self, attempt: AttemptLog) -> bool:
        if not attempt.waiting:
            return True
        if self._away and time.monotonic() < self._retry_at:
            return False
        try:
            if self._ledger is None:
                self._ledger = self._open_ledger()
            attempt.keep(RunLog(self._ledger, attempt.run_id))
        except WriteRefused as error:
            # It would be refused again and block the logs of all other runs.
            log.error("part of the log of run %s is lost: %s", attempt.run_id, error)
            attempt.drop()
        except RunnerError as error:
            if not self._away:
                log.warning("logs of runs cannot be kept, will try again: %s", error)
            self._away, self._retry_at = True, time.monotonic() + 1.0
            return False
        self._away = False
        return True

    def _answer_flushes(self) -> None:
        for _ in range(len(self._flushes)):
            pid, done = self._flushes.popleft()
            source = next((source for source in self._sources.values() if source.pid == pid), None)
            kept = source is None or (source.drained and (source.current is None or self._keep(source.current)))
            if kept:
                done.set()
            else:
                self._flushes.append((pid, done))
