"""Slow and many: bodies that do not come, streams that nobody takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from runner.settings.options import WebSettings
from runner.web import events, guard
from runner.web.access import Access
from runner.web.events import EventStream, TooManyStreams
from runner.web.guard import Guard

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
        except guard.HTTPException as error:
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
