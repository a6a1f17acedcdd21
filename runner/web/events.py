"""Server-sent events: one thread follows the ledger for all browsers.

See the HTML standard, "Server-sent events". An event has the id of the ledger's event, so that a browser that
reconnects continues where it was.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any, ClassVar

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from runner._dataclass import dataclass
from runner.actions.logs import log_of
from runner.actions.project import Project
from runner.errors import ArchiveUnavailable, Unavailable, UnknownRun, UsageError
from runner.ledger.events import Event, Events, Gap
from runner.ledger.flow_log import FlowLog
from runner.ledger.ledger import Ledger
from runner.ledger.run_log import RunLog
from runner.model.log_line import LogLine
from runner.web.access import neighbourhood

QUEUE = 1000
"""How many events may wait for a browser; the stream of a slower one ends, and it reconnects."""

KEEP_ALIVE_SECONDS = 15.0
"""A comment is sent after this time without an event, so that proxies keep the connection, and its end is noticed."""

LOG_SECONDS = 0.4
"""The interval between two readings of a log that is followed."""

MOST_LINES = 10_000
"""How many lines of a log are sent at once."""

LATE_MILLISECONDS = 2000
"""How much later than newer lines a line of a flow's log may be recorded."""

PATIENCE_SECONDS = 60.0
"""The stream of a browser that reads nothing for this time ends."""

MOST_STREAMS = 1000
"""How many streams may be open; others are refused, and browsers try again."""
MOST_STREAMS_OF_ONE = 200
"""How many streams of one address may be open."""

_log = logging.getLogger("runner.web")


class TooManyStreams(Unavailable):
    """The process already serves the maximum number of event streams."""

    code = "too_many_streams"


@dataclass(frozen=True, slots=True)
class Notice:
    """An event or a gap, and its text in the stream, made once for all browsers. Without an event it is for all."""

    event: Event | Gap | None
    text: str

    @property
    def id(self) -> str | None:
        """The id after which a browser continues, if it has one."""
        if self.event is None:
            return None
        return self.event.event if isinstance(self.event, Event) else self.event.before


class Listener:
    """A browser that follows the hub."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: asyncio.Queue[Notice | None] = asyncio.Queue(QUEUE)

    def offer(self, event: Notice) -> None:
        """Queue an event. If too many wait already, drop them, and queue None, which ends the stream."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)
        else:
            self.queue.put_nowait(event)


class Hub:
    """Distributes the events of the ledger to all listeners."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mutex = threading.Lock()
        self._listeners: set[Listener] = set()
        self._events: Events | None = None
        self.away = False
        """Whether Redis cannot be reached, so that events are missing."""

    def join(self, listener: Listener) -> None:
        """Add a listener, which gets all events from now on.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with self._mutex:
            if self._events is None:
                # The position is read here, so that no listener misses an event after this call.
                self._events = Events(self._ledger)
                threading.Thread(target=self._follow, args=(self._events,), name="runner-events", daemon=True).start()
            self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """Remove a listener."""
        with self._mutex:
            self._listeners.discard(listener)

    def missed(self, after: str | None) -> Events:
        """Return a reader of the events after the id ``after``, or after the newest event (None).

        Raises:
            UsageError: ``after`` is not the id of an event.
            Unavailable: Redis cannot be reached.
        """
        return Events(self._ledger, after)

    def _follow(self, events: Events) -> None:
        while True:
            try:
                for event in events.follow(patience=0.0):
                    self._set_away(False)
                    if event is not None:
                        self._distribute(_notice(event))
            except Unavailable:
                self._set_away(True)
                threading.Event().wait(1.0)
            except Exception:  # noqa: BLE001 - without this thread, all listeners would wait forever
                _log.exception("events of the ledger cannot be followed, trying again")
                threading.Event().wait(1.0)

    def _set_away(self, away: bool) -> None:
        if self.away != away:
            self.away = away
            self._distribute(AWAY if away else BACK)

    def _distribute(self, notice: Notice) -> None:
        with self._mutex:
            listeners = list(self._listeners)
        loops: dict[asyncio.AbstractEventLoop, list[Listener]] = {}
        for listener in listeners:
            loops.setdefault(listener.loop, []).append(listener)
        for loop, group in loops.items():
            try:
                loop.call_soon_threadsafe(_offer, group, notice)
            except RuntimeError:
                # The event loop has ended, and its listeners with it.
                for listener in group:
                    self.leave(listener)


def _offer(listeners: list[Listener], notice: Notice) -> None:
    for listener in listeners:
        listener.offer(notice)


def _notice(event: Event | Gap) -> Notice:
    if isinstance(event, Event):
        return Notice(event, message(event.event, "run", event.document()))
    return Notice(event, message(event.before, "restart", {"after": event.after, "before": event.before}))


def follow(hub: Hub, *, after: str | None, job: str | None, run: str | None) -> AsyncIterator[str]:
    """Return a stream of events, of all runs, or of a job or run, that begins after the id ``after``.

    The stream begins with an id, and repeats the latest one even if no event is for this browser. So no event is lost
    between two connections. ``restart`` means that some events are no longer stored.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    try:
        return _stream(hub, hub.missed(after), "retry: 1000\n", job, run)
    except UsageError:
        missed = hub.missed(None)
        restart = message(missed.last, "restart", {"after": after, "before": missed.last})
        return _stream(hub, missed, f"retry: 1000\n{restart}", job, run)


async def _stream(hub: Hub, missed: Events, head: str, job: str | None, run: str | None) -> AsyncIterator[str]:
    listener = Listener(asyncio.get_running_loop())
    try:
        await run_in_threadpool(hub.join, listener)
        seen = missed.last
        yield f"{head}id: {seen}\n\n" + (AWAY.text if hub.away else "")
        # Events that arrive meanwhile wait in the queue; those that were read here are skipped there.
        while page := await run_in_threadpool(missed.page):
            seen = missed.last
            yield _text([_notice(event) for event in page], job, run)
        while True:
            try:
                notice = await asyncio.wait_for(listener.queue.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield f"id: {seen}\n: still here\n\n"
                continue
            # Events that arrived meanwhile are sent in one piece.
            batch = [notice] + [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
            fresh = [known for known in batch if known is not None and _is_new(known, seen)]
            seen = next((known.id for known in reversed(fresh) if known.id is not None), seen)
            if text := _text(fresh, job, run):
                yield text
            if None in batch:
                return
    except Unavailable:
        return  # browsers reconnect, and continue where they were
    finally:
        hub.leave(listener)


def _text(notices: list[Notice], job: str | None, run: str | None) -> str:
    return "".join(notice.text for notice in notices if _is_wanted(notice.event, job, run))


async def log_stream(
    project: Project, run_id: str, after: str | None, attempt: int | None = None
) -> AsyncIterator[str]:
    """Yield the log lines of a run, or of one attempt, and finally ``end``; of a flow, the lines of its step runs."""
    log: RunLog | _FlowLines | None = None
    quiet = 0.0

    def look() -> tuple[bool, list[LogLine]]:
        nonlocal log
        # Before the log: all lines of a run are stored before its final state.
        run = project.records.get(run_id)
        if run.archived:
            # The run may have moved to the archive meanwhile; lines that were sent are not sent again.
            return True, [] if log is not None or after is not None else list(log_of(project, run).lines())
        if log is None:
            flow = run.steps is not None
            log = _FlowLines(project.ledger, run_id, after) if flow else RunLog(project.ledger, run_id, after=after)
        lines = list(log.lines())
        more = log.more if isinstance(log, _FlowLines) else len(lines) >= MOST_LINES
        return run.final and not more, lines

    while True:
        try:
            final, lines = await run_in_threadpool(look)
        except (Unavailable, ArchiveUnavailable, UnknownRun):
            return
        wanted = [line.document() for line in lines if attempt in (None, line.attempt)]
        last = log.last if log is not None else after or "0-0"
        if wanted:
            quiet = 0.0
            yield message(last, "lines", wanted)
        if final:
            yield message(last, "end", {})
            return
        quiet += LOG_SECONDS
        if quiet > KEEP_ALIVE_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(LOG_SECONDS)


class _FlowLines:
    """The log of a flow. Its lines have no ids, so :attr:`last` is the time of the last line.

    A browser that continues after it gets the lines of the seconds before again, since others may have arrived late.
    """

    def __init__(self, ledger: Ledger, flow: str, after: str | None) -> None:
        self._log = FlowLog(ledger, flow)
        self._since = int(after.partition("-")[0]) - LATE_MILLISECONDS if after else 0
        self._lines: Iterator[LogLine] | None = None
        self.last = after or "0-0"
        self.more = False
        """Whether there are more lines for the next call."""

    def lines(self) -> Iterator[LogLine]:
        """Yield new lines, at most :data:`MOST_LINES`; the next call continues."""
        self._lines = self._lines or self._log.lines()
        found = list(islice(self._lines, MOST_LINES))
        self.more = len(found) == MOST_LINES
        if not self.more:
            self._lines = None
        for line in found:
            if line.at >= self._since:
                self.last = f"{line.at}-0"
                yield line


class EventStream(StreamingResponse):
    """A response of server-sent events. The number of streams is limited; one whose client does not read is closed."""

    open = 0
    _room = MOST_STREAMS
    _by_address: ClassVar[Counter[str]] = Counter()

    @classmethod
    def bound(cls, connections: int) -> None:
        """Limit streams to three quarters of ``connections``, so that other requests have room."""
        EventStream._room = max(1, connections * 3 // 4)

    def __init__(self, content: AsyncIterator[str], address: str | None = None) -> None:
        """Send ``content``.

        Args:
            content: the text of the stream, in pieces.
            address: the client's address; None for one that may use all streams, such as a proxy.

        Raises:
            TooManyStreams: there are too many streams, in total or for this address.
        """
        most = min(MOST_STREAMS, EventStream._room)
        most_of_one = max(1, min(MOST_STREAMS_OF_ONE, most // 2))
        hint = "try again later, or request the lists"
        if EventStream.open >= most:
            raise TooManyStreams(f"{most} event streams are open", hint=hint)
        self._address = address and neighbourhood(address)
        if self._address and EventStream._by_address[self._address] >= most_of_one:
            raise TooManyStreams(f"{most_of_one} event streams to this address are open", hint=hint)
        super().__init__(content, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends, or until its client does not read any more."""
        EventStream.open += 1
        if self._address:
            EventStream._by_address[self._address] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            EventStream.open -= 1
            if self._address:
                EventStream._by_address[self._address] -= 1
                if not EventStream._by_address[self._address]:
                    del EventStream._by_address[self._address]

    async def stream_response(self, send: Send) -> None:
        """Send the pieces, with a time limit for each."""

        async def patient(sent: Message) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await send(sent)

        try:
            await super().stream_response(patient)
        except TimeoutError:
            _log.info("closed an event stream, its client did not read")


def _is_wanted(event: Event | Gap | None, job: str | None, run: str | None) -> bool:
    # Events of step runs are events of their flow, too.
    return not isinstance(event, Event) or (
        (job is None or event.job == job) and (run is None or run in (event.id, event.flow))
    )


def _is_new(notice: Notice, seen: str) -> bool:
    # After a gap, ids may start again.
    return not isinstance(notice.event, Event) or _key(notice.event.event) > _key(seen)


def _key(text: str) -> tuple[int, int]:
    at, _, number = text.partition("-")
    return int(at), int(number or 0)


def message(event_id: str, event_type: str, data: Any) -> str:
    """Return one event as text of the stream."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {event_type}\ndata: {json.dumps(data)}\n\n"


AWAY, BACK = (Notice(None, message("", event_type, {})) for event_type in ("away", "back"))
"""Redis cannot be reached, and can be reached again."""
