"""HTTP on one connection, with an end to waiting: for a request, and for whoever should take a response."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from runner.web.access import neighbourhood
from runner.web.connections import Connections

HEAD_SECONDS = 15.0
"""How long a connection may take to send the head of a request, from its beginning or from its first byte."""
TAKE_SECONDS = 30.0
"""How long a peer may take for :data:`TAKE_BYTES` of a response, or for the rest of it if that is less."""
TAKE_BYTES = 16 * 1024
SEND_BUFFER = 128 * 1024
"""Bytes of responses that the system holds for one connection; by default it is megabytes."""

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


class Protocol(H11Protocol):
    """Uvicorn's protocol on h11, which also bounds how long a peer may be awaited, and how many there may be."""

    bounds: Connections
    """Set by :func:`protocol_within`."""
    peer = ""
    _waiting: asyncio.TimerHandle | None = None
    _heard_at = 0.0
    _refused = False
    _full_since: float | None = None
    _full_with = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, or refuse it where there are too many connections."""
        super().connection_made(transport)
        self.peer = neighbourhood(self.client[0]) if self.client else ""
        self._heard_at = time.monotonic()
        if not self.bounds.admit(self):
            self._refused = True
            transport.write(_TOO_MANY)
            transport.close()
            return
        if (own := transport.get_extra_info("socket")) is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes; wait on, no longer than before, if they are not a whole head yet."""
        if self._refused:
            return
        self._heard_at = time.monotonic()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        self.bounds.leave(self)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Go on: the peer has taken what was sent."""
        self._full_since = None
        super().resume_writing()

    # -- what bounds ask

    def waits_since(self) -> float | None:
        """Return since when the peer is awaited; None while the server works for it."""
        self._look()
        if self._full_since is not None:
            return self._full_since
        answered = self.cycle is None or self.cycle.response_complete
        if answered or self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            return self._heard_at
        return None

    def check_progress(self) -> None:
        """Give the connection up if its peer has taken too little for too long."""
        self._look()
        if self._full_since is not None and time.monotonic() - self._full_since > TAKE_SECONDS:
            self.give_up()

    def give_up(self) -> None:
        """End it at once: closing it in peace would wait until everything is sent, here or in the system."""
        if (own := self.transport.get_extra_info("socket")) is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _look(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left == 0:
            self._full_since = None
        elif self._full_since is None or left <= self._full_with - TAKE_BYTES:
            self._full_since, self._full_with = time.monotonic(), left

    def _wait(self) -> None:
        self._waiting = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up_waiting)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up_waiting(self) -> None:
        self._waiting = None
        # An answer that is still being sent ends the waiting too, whatever came after its request.
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


def protocol_within(bounds: Connections) -> type[Protocol]:
    """Return the protocol of a server with these bounds."""
    return type("BoundedProtocol", (Protocol,), {"bounds": bounds})
