"""Server-sent events: one thread follows the ledger, however many browsers look.

See the HTML standard, "Server-sent events". The id of each is that of the ledger's event, so that a browser that comes
back goes on where it was.
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
"""Events that wait for one browser; a slower one is told to begin anew."""

KEEP_ALIVE_SECONDS = 15.0
"""A comment is sent after so much silence, so that proxies keep the connection, and its end is noticed."""

LOG_SECONDS = 0.4
"""Between two looks at a log that is followed."""

MOST_LINES = 10_000
"""Lines of a log that are sent at once."""

LATE_MILLISECONDS = 2000
"""How much later than another one a line of a flow's log may be recorded."""

PATIENCE_SECONDS = 60.0
"""A browser that takes nothing for so long is given up."""

MOST_STREAMS = 1000
"""Streams at a time; whoever comes then has to come again."""
MOST_STREAMS_OF_ONE = 200
"""Of them, those of one address."""

_log = logging.getLogger("runner.web")


class TooManyStreams(Unavailable):
    """As many event streams are open as one process serves."""

    code = "too_many_streams"


@dataclass(frozen=True, slots=True)
class Told:
    """An event or a gap, and how the wire has it: made once, for all browsers. Without either it concerns everybody."""

    event: Event | Gap | None
    text: str

    @property
    def id(self) -> str | None:
        """The id that a browser goes on after, if it has one."""
        if self.event is None:
            return None
        return self.event.event if isinstance(self.event, Event) else self.event.before


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
        self._events: Events | None = None
        self.away = False
        """Whether Redis cannot be reached, so that nothing is known of what happens."""

    def join(self, listener: Listener) -> None:
        """Let a browser listen: whatever happens from now on is offered to it.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with self._mutex:
            if self._events is None:
                # Its place is known before anybody counts on it.
                self._events = Events(self._ledger)
                threading.Thread(target=self._follow, args=(self._events,), name="runner-events", daemon=True).start()
            self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """It listens no more."""
        with self._mutex:
            self._listeners.discard(listener)

    def missed(self, after: str | None) -> Events:
        """Return a reader of the events after ``after``, the last one that a browser saw; None: after the newest.

        Raises:
            UsageError: that is not the id of an event.
            Unavailable: Redis cannot be reached.
        """
        return Events(self._ledger, after)

    def _follow(self, events: Events) -> None:
        while True:
            try:
                for event in events.follow(patience=0.0):
                    self._tell_away(False)
                    if event is not None:
                        self._hand_out(_told(event))
            except Unavailable:
                self._tell_away(True)
                threading.Event().wait(1.0)
            except Exception:  # noqa: BLE001 - whatever it was: those who listen would wait for ever
                _log.exception("events of the ledger cannot be followed, trying again")
                threading.Event().wait(1.0)

    def _tell_away(self, away: bool) -> None:
        if self.away != away:
            self.away = away
            self._hand_out(AWAY if away else BACK)

    def _hand_out(self, told: Told) -> None:
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


def _offer(listeners: list[Listener], told: Told) -> None:
    for listener in listeners:
        listener.offer(told)


def _told(event: Event | Gap) -> Told:
    if isinstance(event, Event):
        return Told(event, message(event.event, "run", event.document()))
    return Told(event, message(event.before, "restart", {"after": event.after, "before": event.before}))


def follow(hub: Hub, *, after: str | None, job: str | None, run: str | None) -> AsyncIterator[str]:
    """Return the events of a job, a run or all after the one that a browser saw last, as the wire has them.

    A browser knows from the first moment where it is: what passes it by has an id too. So none is lost between two
    connections. ``restart`` tells that some are not known any more.

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
        # What is offered meanwhile waits; what was read already is left out of it.
        while page := await run_in_threadpool(missed.page):
            seen = missed.last
            yield _wire([_told(each) for each in page], job, run)
        while True:
            try:
                told = await asyncio.wait_for(listener.queue.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield f"id: {seen}\n: still here\n\n"
                continue
            # What came meanwhile goes in one piece.
            batch = [told] + [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
            fresh = [each for each in batch if each is not None and _is_news(each, seen)]
            seen = next((each.id for each in reversed(fresh) if each.id is not None), seen)
            if text := _wire(fresh, job, run):
                yield text
            if None in batch:
                return
    except Unavailable:
        return  # they come back, and go on where they were
    finally:
        hub.leave(listener)


def _wire(those: list[Told], job: str | None, run: str | None) -> str:
    return "".join(each.text for each in those if _wanted(each.event, job, run))


async def log_stream(
    project: Project, run_id: str, after: str | None, attempt: int | None = None
) -> AsyncIterator[str]:
    """Yield the lines of a run's log, or of one attempt, and then its end; of a flow those of its step runs."""
    log: RunLog | _FlowLines | None = None
    quiet = 0.0

    def look() -> tuple[bool, list[LogLine]]:
        nonlocal log
        # Asked first: what a run wrote is there no later than its end.
        run = project.records.get(run_id)
        if run.archived:
            # It may have gone there meanwhile; what was sent before is not sent again.
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
    """The log of a flow, which has no ids of its own: :attr:`last` is the time of its last line.

    Whoever goes on after that gets the lines of the seconds before it again, as others may have come late.
    """

    def __init__(self, ledger: Ledger, flow: str, after: str | None) -> None:
        self._log = FlowLog(ledger, flow)
        self._since = int(after.partition("-")[0]) - LATE_MILLISECONDS if after else 0
        self._lines: Iterator[LogLine] | None = None
        self.last = after or "0-0"
        self.more = False
        """Whether lines are left for the next time."""

    def lines(self) -> Iterator[LogLine]:
        """Yield new lines; of more than :data:`MOST_LINES` the others come the next time."""
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
    """An answer of server-sent events: their number is limited, and a reader that takes nothing is dropped."""

    open = 0
    _room = MOST_STREAMS
    _by_address: ClassVar[Counter[str]] = Counter()

    @classmethod
    def bound(cls, connections: int) -> None:
        """Leave a quarter of ``connections`` to other requests than streams."""
        EventStream._room = max(1, connections * 3 // 4)

    def __init__(self, content: AsyncIterator[str], address: str | None = None) -> None:
        """Send ``content``.

        Args:
            content: what to send.
            address: where it goes to; None for one that may have all streams, such as a proxy.

        Raises:
            TooManyStreams: there are too many, of all or of this address.
        """
        most = min(MOST_STREAMS, EventStream._room)
        most_of_one = max(1, min(MOST_STREAMS_OF_ONE, most // 2))
        hint = "try again later, or ask for lists"
        if EventStream.open >= most:
            raise TooManyStreams(f"{most} event streams are open", hint=hint)
        self._address = address and neighbourhood(address)
        if self._address and EventStream._by_address[self._address] >= most_of_one:
            raise TooManyStreams(f"{most_of_one} event streams of this address are open", hint=hint)
        super().__init__(content, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it until it ends, or until nobody takes it any more."""
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
        """Send what comes, each within a time."""

        async def patient(sent: Message) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await send(sent)

        try:
            await super().stream_response(patient)
        except TimeoutError:
            _log.info("closed an event stream, its client did not read")


def _wanted(event: Event | Gap | None, job: str | None, run: str | None) -> bool:
    # What happens to the steps of a flow happens to it.
    return not isinstance(event, Event) or (
        (job is None or event.job == job) and (run is None or run in (event.id, event.flow))
    )


def _is_news(told: Told, seen: str) -> bool:
    # After a gap ids may begin anew.
    return not isinstance(told.event, Event) or _key(told.event.event) > _key(seen)


def _key(text: str) -> tuple[int, int]:
    at, _, number = text.partition("-")
    return int(at), int(number or 0)


def message(event_id: str, kind: str, data: Any) -> str:
    """Return one event as the wire has it."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n"


AWAY, BACK = (Told(None, message("", kind, {})) for kind in ("away", "back"))
"""Redis cannot be reached; it can again."""
