"""Server-sent events: one thread follows the ledger, however many browsers look.

See the HTML standard, "Server-sent events". The id of each is that of the ledger's event, so that a browser that comes
back goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from runner.errors import RunnerError, UsageError
from runner.ledger.events import Event, Events
from runner.ledger.ledger import Ledger
from runner.ledger.run_log import RunLog

QUEUE = 1000
"""Events that wait for one browser; a slower one is told to begin anew."""

KEEP_ALIVE_SECONDS = 15.0
"""A comment is sent after so much silence, so that proxies keep the connection, and its end is noticed."""

LOG_SECONDS = 0.4
"""Between two looks at a log that is followed."""

MOST_REPLAYED = 1000


class Listener:
    """One browser's place in the hub."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE)

    def offer(self, event: Event) -> None:
        """Give it an event; None, which ends it, if it has too many already."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)
        else:
            self.queue.put_nowait(event)


class Hub:
    """Hands the events of the ledger to all that listen."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mutex = threading.Lock()
        self._listeners: set[Listener] = set()
        self._thread: threading.Thread | None = None

    def join(self, listener: Listener) -> None:
        """Let a browser listen."""
        with self._mutex:
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="runner-events", daemon=True)
                self._thread.start()

    def leave(self, listener: Listener) -> None:
        """It listens no more."""
        with self._mutex:
            self._listeners.discard(listener)

    def _follow(self) -> None:
        while True:
            try:
                for event in Events(self._ledger).follow():
                    if isinstance(event, Event):
                        self._hand_out(event)
            except RunnerError:
                threading.Event().wait(1.0)

    def _hand_out(self, event: Event) -> None:
        with self._mutex:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener.loop.call_soon_threadsafe(listener.offer, event)
            except RuntimeError:
                # Its loop has ended.
                self.leave(listener)

    def missed(self, after: str) -> list[Event]:
        """Return the events after the one that a browser saw last.

        Raises:
            UsageError: that is no id of an event.
            Unavailable: Redis cannot be reached.
        """
        found = []
        for event in Events(self._ledger, after).follow():
            if event is None:
                break
            if isinstance(event, Event):
                found.append(event)
            if len(found) >= MOST_REPLAYED:
                break
        return found


async def stream(hub: Hub, *, after: str | None, job: str | None, run: str | None) -> AsyncIterator[str]:
    """Yield the events of a job, a run or all, as the wire has them."""
    listener = Listener(asyncio.get_running_loop())
    hub.join(listener)
    try:
        yield "retry: 1000\n\n"
        seen = ""
        if after is not None:
            try:
                for event in await run_in_threadpool(hub.missed, after):
                    seen = event.event
                    if _wanted(event, job, run):
                        yield message(event.event, "run", event.document())
            except UsageError:
                yield message("", "restart", {})
        while True:
            try:
                told = await asyncio.wait_for(listener.queue.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if told is None:
                return
            if _wanted(told, job, run) and _later(told.event, seen):
                yield message(told.event, "run", told.document())
    finally:
        hub.leave(listener)


async def log_stream(ledger: Ledger, run_id: str, after: str | None) -> AsyncIterator[str]:
    """Yield the lines of a run's log, and then its end."""
    log = RunLog(ledger, run_id, after=after)
    quiet = 0.0
    while True:
        final = (await run_in_threadpool(ledger.get, run_id)).final
        lines = await run_in_threadpool(lambda: list(log.lines()))
        if lines:
            quiet = 0.0
            yield message(log.last, "lines", [line.document() for line in lines])
        if final:
            yield message(log.last, "end", {})
            return
        quiet += LOG_SECONDS
        if quiet > KEEP_ALIVE_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(LOG_SECONDS)


def _wanted(event: Event, job: str | None, run: str | None) -> bool:
    return (job is None or event.job == job) and (run is None or event.id == run)


def _later(event: str, seen: str) -> bool:
    def key(text: str) -> tuple[int, int]:
        at, _, number = text.partition("-")
        return int(at or 0), int(number or 0)

    return key(event) > key(seen)


def message(event_id: str, kind: str, data: Any) -> str:
    """Return one event as the wire has it."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
