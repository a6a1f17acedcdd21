"""A TCP proxy between Redis and its clients that misbehaves on request.

It forwards, delays, cuts, or becomes a black hole: connections stay open, but data passes only after the hole closes,
as on a network. It parses the clients' data command by command, so that a test can count commands and disconnect
at each command boundary.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

Verdict = Literal["pass", "cut-before", "cut-after", "hold-answer"]
"""The fate of a command: forwarded; never sent; sent, but its answer is never delivered; or sent, and its answer is
delivered after ``answers`` is set."""

_CHUNK = 65536


@dataclass(frozen=True)
class Command:
    """One command of a client."""

    connection: int
    """The number of its connection to the proxy, from 1."""
    words: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """Return the command's name in upper case."""
        return self.words[0].decode("ascii", "replace").upper() if self.words else ""


class Proxy:
    """A proxy that listens on a port of 127.0.0.1 and forwards to ``upstream``; use it in a ``with``.

    ``gate`` decides about each command before it is forwarded, in the thread of its connection.
    """

    def __init__(self, upstream: tuple[str, int], gate: Callable[[Command], Verdict] | None = None) -> None:
        self.upstream = upstream
        self.gate = gate
        self.delay = 0.0
        self.answers = threading.Event()
        """When set, delayed answers are delivered."""
        self.commands = 0
        self._open = threading.Event()
        self._open.set()
        self._refusing = False
        self._mutex = threading.Lock()
        self._connections: dict[int, _Connection] = {}
        self._accepted = 0
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True, name="proxy")
        self._thread.start()

    # -- misbehaving

    def forward(self) -> None:
        """Forward normally; deliver the data that a black hole held back."""
        self._refusing = False
        self._open.set()

    def black_hole(self) -> None:
        """Forward nothing in either direction, without closing connections."""
        self._open.clear()

    def cut(self) -> None:
        """Close every connection; data in transit is lost. New connections are accepted."""
        with self._mutex:
            connections = list(self._connections.values())
        for connection in connections:
            connection.close()

    def refuse(self) -> None:
        """Close every connection, and each new one at once."""
        self._refusing = True
        self.cut()

    # -- forwarding

    def wait_open(self) -> None:
        """Return once data may pass."""
        self._open.wait()
        if self.delay:
            time.sleep(self.delay)

    def judge(self, command: Command) -> Verdict:
        """Count a command and return its fate."""
        with self._mutex:
            self.commands += 1
            gate = self.gate
        return gate(command) if gate is not None else "pass"

    def forget(self, number: int) -> None:
        """Record that a connection is closed."""
        with self._mutex:
            self._connections.pop(number, None)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing or self._closed:
                client.close()
                continue
            with self._mutex:
                self._accepted += 1
                connection = _Connection(self, self._accepted, client)
                self._connections[self._accepted] = connection
            connection.start()

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._closed = True
        with suppress(OSError):
            # close() alone does not wake a blocked accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._open.set()
        self.answers.set()
        self.cut()
        self._thread.join(2.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Connection:
    """A client's connection, and the proxy's connection to Redis for it."""

    def __init__(self, proxy: Proxy, number: int, client: socket.socket) -> None:
        self._proxy, self._number, self._client = proxy, number, client
        self._server: socket.socket | None = None
        self._swallow = threading.Event()
        self._holds = False
        self._closed = False

    def start(self) -> None:
        threading.Thread(target=self._up, daemon=True, name=f"proxy-up-{self._number}").start()

    def close(self) -> None:
        self._closed = True
        for end in (self._client, self._server):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                with suppress(OSError):
                    end.close()
        self._proxy.forget(self._number)

    def _up(self) -> None:
        try:
            self._proxy.wait_open()
            self._server = socket.create_connection(self._proxy.upstream, timeout=5.0)
            self._server.settimeout(None)
            for end in (self._client, self._server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._down, daemon=True, name=f"proxy-down-{self._number}").start()
            if self._closed:
                self.close()
                return
            pending = b""
            while data := self._client.recv(_CHUNK):
                self._proxy.wait_open()
                if self._proxy.gate is None and not pending:
                    self._server.sendall(data)
                    continue
                pending += data
                while (parsed := parse(pending)) is not None:
                    words, length = parsed
                    raw, pending = pending[:length], pending[length:]
                    verdict = self._proxy.judge(Command(self._number, words))
                    if verdict == "cut-before":
                        return
                    if verdict == "cut-after":
                        self._swallow.set()
                    elif verdict == "hold-answer":
                        self._holds = True
                    self._server.sendall(raw)
                    if verdict == "cut-after":
                        # The other direction closes once Redis has answered.
                        return
        except OSError:
            pass
        finally:
            if not self._swallow.is_set():
                self.close()

    def _down(self) -> None:
        assert self._server is not None
        try:
            while data := self._server.recv(_CHUNK):
                if self._swallow.is_set():
                    return
                if self._holds:
                    self._proxy.answers.wait()
                self._proxy.wait_open()
                self._client.sendall(data)
        except OSError:
            pass
        finally:
            self.close()


def parse(data: bytes) -> tuple[tuple[bytes, ...], int] | None:
    """Return the arguments of the first command in ``data`` and its length in bytes; None if it is incomplete.

    Format: RESP arrays of bulk strings; redis-py sends nothing else.
    """
    end = data.find(b"\r\n")
    if end < 0:
        return None
    if data[:1] != b"*":
        return tuple(data[:end].split()), end + 2
    count, at = int(data[1:end]), end + 2
    words = []
    for _ in range(count):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        length = int(data[at + 1 : end])
        if len(data) < end + 2 + length + 2:
            return None
        words.append(data[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return tuple(words), at
