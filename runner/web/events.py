"""Server-sent events: one thread follows the ledger, however many browsers look.

See the HTML standard, "Server-sent events". The id of each is that of the ledger's event, so that a browser that comes
back goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and how the wire has it: made once, for all browsers."""

    event: Event
    text: str


class Listener:
    """One browser's place in the hub."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: asyncio.Queue[Told | None] = asyncio.Queue(QUEUE)

    def offer(self, event: Told) -> None:
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
        told = Told(event, message(event.event, "run", event.document()))
        with self._mutex:
            listeners = list(self._listeners)
        loops: dict[asyncio.AbstractEventLoop, list[Listener]] = {}
        for listener in listeners:
            loops.setdefault(listener.loop, []).append(listener)
        for loop, those in loops.items():
            try:
                loop.call_soon_threadsafe(_offer, those, told)
            except RuntimeError:
                # It has ended, and who listened there with it.
                for listener in those:
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


def _offer(listeners: list[Listener], told: Told) -> None:
    for listener in listeners:
        listener.offer(told)


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
            # What came meanwhile goes in one piece.
            batch = [told] + [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
            wanted = [each for each in batch if each is not None and _wanted(each.event, job, run)]
            text = "".join(each.text for each in wanted if not seen or _later(each.event.event, seen))
            if text:
                yield text
            if None in batch:
                return
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
