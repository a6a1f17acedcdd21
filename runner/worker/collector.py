"""The worker's side: reads the pipes of all takers, and keeps what came in the ledger.

One thread. It looks at most 25 times a second, however much is written, and sends what came in chunks. A run
that ends is not kept waiting: its child asks for its log to be kept at once.
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
"""Between the first word of a child and a look at the pipes: much is written in one go, most runs write nothing."""

KEEP_SECONDS = 0.2
"""How long lines are gathered before they are sent."""

REDRAWN_SECONDS = (1.0, 10.0)
"""How long a line that a job draws anew, such as a progress bar, goes on before its state is shown; each time twice as
long, up to the second figure."""

CHUNK_BYTES = 32 * 1024
READ_BYTES = 256 * 1024
FLUSH_SECONDS = 5.0
"""How long :meth:`Collector.flush` waits."""

Line = tuple[int, str | None, str]


@dataclass(slots=True)
class AttemptLog:
    """The output of one attempt that is not sent yet."""

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
            # What was written is timed when it is read, a record when it was made: order comes first.
            self.last = max(self.last, at)
            self.waiting.append((self.last, level, text))
            self.waiting_bytes += _size(text)

    def drop(self) -> None:
        """Give up what waits."""
        self.number += len(self.waiting)
        self.waiting.clear()
        self.waiting_bytes = 0

    def shorten(self) -> None:
        """Hold no more than would be kept, the last lines: Redis is away."""
        while self.waiting_bytes > self.window.most_bytes or len(self.waiting) > self.window.most_lines:
            _, _, text = self.waiting.popleft()
            self.waiting_bytes -= _size(text)
            self.number += 1

    def keep(self, log_of: RunLog) -> None:
        """Send what waits.

        Raises:
            Unavailable: Redis is away; what was not sent waits on.
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
        """Return the first lines that wait, as many as go in one chunk, and them as JSON."""
        chunk: list[Line] = []
        most, size = min(CHUNK_BYTES, self.window.most_bytes // 8), 0
        for line in self.waiting:
            size += _size(line[2])
            if chunk and (size > most or len(chunk) >= self.window.most_lines // 2):
                break
            chunk.append(line)
        while True:
            data = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
            # Control characters take six times as much.
            if len(chunk) == 1 or len(data) <= self.window.most_bytes // 4:
                return chunk, data
            chunk = chunk[: len(chunk) // 2]


def _size(text: str) -> int:
    return (len(text) if text.isascii() else len(text.encode())) + 32


class Source:
    """One taker: its pipe, and the attempt that writes into it."""

    def __init__(self, pid: int, token: bytes, pipe: int, answering: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.ended = False
        self.drained = True
        self.owed: int | None = None
        """The attempt whose child waits until its log is kept."""
        self.current: AttemptLog | None = None
        self.show_at: float | None = None
        """When the state of a line that the job draws anew is shown."""
        self._show_after = REDRAWN_SECONDS[0]
        self._answering = answering
        self._reader = Reader(token)
        for descriptor in (pipe, answering):
            os.set_blocking(descriptor, False)

    def read(self) -> list[tuple[str, Any]]:
        """Return all that is in the pipe; at its end ``ended`` is true."""
        found: list[tuple[str, Any]] = []
        self.drained = False
        # A bound, so that one child that writes without end does not keep the others waiting.
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
        """Let go of what waits to be kept."""
        if self.current is not None:
            self.current.drop()

    def answer(self, sequence: int) -> None:
        """Tell the child that all that its attempt wrote is kept."""
        with contextlib.suppress(OSError):
            os.write(self._answering, bytes([sequence]))

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.pipe)
        os.close(self._answering)


class Collector(threading.Thread):
    """Keeps what runs write. Made before the template, whose takers inherit :attr:`control`."""

    def __init__(self, open_ledger: Callable[[], Ledger], limits: Limits, echo: Echo) -> None:
        super().__init__(name="runner-logs", daemon=True)
        self._open_ledger = open_ledger
        self._limits = limits
        # As JSON a line may take six times as much, and still less than half of what is kept.
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
        """Return once all that a dead child wrote is kept, or Redis was away for some seconds."""
        done = threading.Event()
        self._flushes.append((pid, done))
        self._wake()
        done.wait(FLUSH_SECONDS)

    def end(self) -> None:
        """Keep what is left, and end the thread."""
        self._over = True
        self._wake()
        self.join(FLUSH_SECONDS)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self.control.send(b"wake")

    # -- the thread

    def run(self) -> None:
        """Read and keep until the worker ends."""
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
                # What cannot be kept goes, or it would keep everything after it from being kept.
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
        """Let lines gather, unless somebody waits."""
        if all(source.drained for source in self._sources.values()):
            self._poller.poll(REST_SECONDS * 1000)

    def _listen(self) -> None:
        while True:
            try:
                words, descriptors, _, _ = socket.recv_fds(self._ear, 1024, 2)
            except BlockingIOError:
                return
            if descriptors:
                told = json.loads(words)
                source = Source(told["pid"], told["token"].encode(), *descriptors)
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
                # All that stands between two of these goes on at once: it may be thousands of records.
                self._take(source, lines)
                lines = []
            if kind == BEGIN:
                self._close(source)
                run_id, job, attempt = value
                window = Window(self._limits.log, self._limits.log_lines)
                source.current = AttemptLog(run_id, job, attempt, window)
                if not answered:
                    # Of several that were read at once, all but the last have ended already.
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
            # Written outside of any attempt: by a thread that an earlier one left behind.
            self._echo.plain([text for _, _, text in lines])
            return
        self._echo.lines(current.run_id, current.job, current.attempt, lines)
        current.take(lines)
        if current.waiting_bytes >= CHUNK_BYTES and not self._keep(current):
            current.shorten()

    def _close(self, source: Source) -> None:
        """Another attempt begins: what was left of the one before is its last chance."""
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
            # It would be refused again, and keep the logs of all other runs waiting.
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
            source = next((each for each in self._sources.values() if each.pid == pid), None)
            kept = source is None or (source.drained and (source.current is None or self._keep(source.current)))
            if kept:
                done.set()
            else:
                self._flushes.append((pid, done))
