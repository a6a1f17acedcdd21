"""HTTP on one connection, with time limits for the client: to send a request, and to read the response."""

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
"""How long a client may take to send the head of a request, from the start of the connection or its first byte."""
TAKE_SECONDS = 30.0
"""How long a client may take to read :data:`TAKE_BYTES` of a response, or the rest of it if that is less."""
TAKE_BYTES = 16 * 1024
SEND_BUFFER = 128 * 1024
"""How much of a response the system buffers for a connection, in bytes; by default it is megabytes."""

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


class Protocol(H11Protocol):
    """Uvicorn's protocol on h11 with limits on time and on the number of connections."""

    bounds: Connections
    """Set by :func:`protocol_within`."""
    peer = ""
    _waiting: asyncio.TimerHandle | None = None
    _heard_at = 0.0
    _refused = False
    _full_since: float | None = None
    _full_with = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, or refuse the connection if there are too many."""
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
        """Process bytes. The time limit for the head does not start anew with them."""
        if self._refused:
            return
        self._heard_at = time.monotonic()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and make room for another connection."""
        self._stop()
        self.bounds.leave(self)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Go on: the client has read what was sent."""
        self._full_since = None
        super().resume_writing()

    # -- used by Connections

    def waits_since(self) -> float | None:
        """Return since when the server has waited for the client; None while it works on a request."""
        self._look()
        if self._full_since is not None:
            return self._full_since
        answered = self.cycle is None or self.cycle.response_complete
        if answered or self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            return self._heard_at
        return None

    def check_progress(self) -> None:
        """Close the connection if its client has read too little for too long."""
        self._look()
        if self._full_since is not None and time.monotonic() - self._full_since > TAKE_SECONDS:
            self.give_up()

    def give_up(self) -> None:
        """Abort the connection: an orderly close would wait until all data is sent, here or in the system."""
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
        # This also closes a connection whose response is still being sent, whatever the client sent after its request.
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


def protocol_within(bounds: Connections) -> type[Protocol]:
    """Return the protocol of a server with these limits."""
    return type("BoundedProtocol", (Protocol,), {"bounds": bounds})
