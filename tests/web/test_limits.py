"""Slow and many: bodies that do not come, responses and streams that nobody takes, connections, lines of a log."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from runner.settings.options import WebSettings
from runner.web import events, guard, log, protocol
from runner.web.access import Access
from runner.web.connections import OTHER_FILES, Connections, room_of
from runner.web.events import EventStream, TooManyStreams
from runner.web.guard import Guard
from runner.web.log import RateLimit
from runner.web.protocol import protocol_within
from runner.web.serving import Server

DEADLINE = 20.0


def scope(method: str = "POST") -> Scope:
    headers = [(b"host", b"localhost")]
    return {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": headers, "client": None}


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    refused: list[int] = []

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await Request(scope, receive).body()
        except HTTPException as error:
            refused.append(error.status_code)

    async def refuse(_: Request, __: Exception) -> Response:
        return PlainTextResponse("refused")

    first = True

    async def trickle() -> Message:
        nonlocal first
        if not first:
            await asyncio.Event().wait()
        first = False
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(_: Message) -> None:
        raise AssertionError("nothing is to be sent")

    it = Guard(reads, access=Access(WebSettings(), "127.0.0.1"), most=100, refuse=refuse)
    asyncio.run(asyncio.wait_for(it(scope(), trickle, send), DEADLINE))
    assert refused == [408]


async def forever() -> AsyncIterator[str]:
    while True:
        yield "data: {}\n\n"


async def nothing() -> Any:
    await asyncio.Event().wait()


def test_a_stream_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PATIENCE_SECONDS", 0.2)

    async def full(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    before = EventStream.open
    asyncio.run(asyncio.wait_for(EventStream(forever())(scope("GET"), nothing, full), DEADLINE))
    assert EventStream.open == before


def test_streams_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_STREAMS", 1)

    async def check() -> None:
        opened = asyncio.Event()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                opened.set()
                await asyncio.sleep(0)

        one = asyncio.create_task(EventStream(forever())(scope("GET"), nothing, send))
        await asyncio.wait_for(opened.wait(), DEADLINE)
        with pytest.raises(TooManyStreams):
            EventStream(forever())
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        EventStream(forever())

    asyncio.run(check())


def test_streams_of_one_address_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_STREAMS_OF_ONE", 1)

    async def check() -> None:
        opened = asyncio.Event()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                opened.set()
                await asyncio.sleep(0)

        one = asyncio.create_task(EventStream(forever(), "2001:db8::1")(scope("GET"), nothing, send))
        await asyncio.wait_for(opened.wait(), DEADLINE)
        with pytest.raises(TooManyStreams):
            EventStream(forever(), "2001:db8::2")
        EventStream(forever(), "192.0.2.1")
        EventStream(forever(), None)
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        EventStream(forever(), "2001:db8::2")

    asyncio.run(check())


LARGE = b"x" * 4_000_000


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose response fills all buffers on the way."""
    await Response(LARGE)(scope, receive, send)


@pytest.mark.parametrize("takes", [0, 1], ids=["nothing", "too little"])
def test_a_response_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch, takes: int) -> None:
    monkeypatch.setattr(protocol, "TAKE_SECONDS", 0.3)
    bounds = Connections(10, lambda _: False)

    async def check() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(large, http=protocol_within(bounds), lifespan="off", log_config=None, access_log=False)
        started = asyncio.Event()
        server = Server(config, bounds, started.set)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await asyncio.wait_for(started.wait(), DEADLINE)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, listener.getsockname())
            await loop.sock_sendall(slow, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            ends = select.poll()
            ends.register(slow, 0)
            async with asyncio.timeout(DEADLINE):
                while not ends.poll(0):
                    if takes:
                        await loop.sock_recv(slow, takes)
                    await asyncio.sleep(0.01)
                while len(bounds):
                    await asyncio.sleep(0.01)
        server.should_exit = True
        await asyncio.wait_for(serving, DEADLINE)

    asyncio.run(check())


class Peer:
    """A connection: whose it is, and since when its peer is awaited."""

    def __init__(self, peer: str, since: float | None) -> None:
        self.peer, self.since, self.gone = peer, since, False

    def waits_since(self) -> float | None:
        return self.since

    def check_progress(self) -> None: ...

    def give_up(self) -> None:
        self.gone = True


def test_who_is_awaited_longest_gives_way_first_and_who_is_served_never() -> None:
    it = Connections(4, lambda _: True)
    served, short, long, other = Peer("a", None), Peer("a", 2.0), Peer("a", 1.0), Peer("b", 0.0)
    assert all(it.admit(peer) for peer in (served, short, long, other))
    # That of the address with most comes before one that is awaited for longer.
    for leaving in (long, short, other):
        assert it.admit(Peer("c", None))
        assert leaving.gone
        assert len(it) == 4
    assert not served.gone
    assert not it.admit(Peer("d", 9.0))


def test_an_address_has_half_of_the_connections_unless_it_is_a_proxys() -> None:
    it = Connections(8, lambda peer: peer == "proxy")
    assert [it.admit(Peer("a", None)) for _ in range(5)] == [True] * 4 + [False]
    waiting = Peer("b", 1.0)
    assert it.admit(waiting)
    assert all(it.admit(Peer("proxy", None)) for _ in range(4))
    assert waiting.gone
    assert len(it) == 8
    for _ in range(3):
        it.leave(waiting)  # it has left already
    assert len(it) == 8


@pytest.mark.parametrize("files", [64, 100, 128, 256, 1024, 4096])
def test_there_is_room_for_all_that_may_be_open(files: int) -> None:
    room = room_of(files)
    assert room.connections + room.backlog + room.threads + OTHER_FILES <= files
    assert room.connections >= files // 4


def test_a_log_does_not_repeat_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limit, messages = RateLimit(), []

    def warn(text: str, line: int = 1, error: type[Exception] | None = None) -> None:
        info = (error, error(), None) if error is not None else None
        record = logging.LogRecord("runner.web", logging.WARNING, "a.py", line, "%s", (text,), info)
        if limit.filter(record):
            messages.append(record.getMessage())

    for number in range(100):
        warn(f"from {number}")
    assert messages == [f"from {number}" for number in range(log.BURST)]
    warn("another line", 2)
    warn("another error", 1, OSError)
    assert messages[log.BURST :] == ["another line", "another error"]
    now += log.WINDOW_SECONDS + 1
    warn("from 100")
    assert messages[-1] == f"from 100 ({100 - log.BURST} more like this were left out)"
