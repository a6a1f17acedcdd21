"""Minimal connections to Redis for programs that submit and read runs.

Importing redis-py takes longer than the rest of a submission, and redis-py needs more time for a command than hiredis
and the kernel together. So the first try of a script uses a connection of this module if the URL contains only an
address and a login. redis-py is used for TLS and Sentinel, and whenever a connection of this module fails.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis

from runner.ledger.address import ANSWER_TIMEOUT, CONNECT_TIMEOUT

_CHUNK = 65536
_UNFINISHED = object()


class Broken(Exception):
    """There is no connection, or it failed; a command that was sent may have been executed."""


class Refused(Exception):
    """Redis answered with an error, which is the message."""


class Address(NamedTuple):
    """The address of a server and the login. Times are in seconds."""

    place: str | tuple[str, int]
    login: tuple[str, ...]
    database: int
    connect_timeout: float
    timeout: float


def read_address(url: str) -> Address | None:
    """Parse a URL in canonical form as redis-py does; None if it has options that this module does not support."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme not in ("redis", "unix") or set(options) - {"db", "socket_timeout", "socket_connect_timeout"}:
        return None
    of_path = "" if parts.scheme == "unix" else unquote(parts.path).replace("/", "")
    try:
        database = int(options.get("db") or of_path or 0)
        timeouts = [
            float(options[name]) if name in options else None for name in ("socket_connect_timeout", "socket_timeout")
        ]
        port = parts.port or 6379
    except ValueError:
        return None  # redis-py reports the error
    login = tuple(unquote(word) for word in (parts.username, parts.password) if word)
    if parts.username and not parts.password:
        return None
    return Address(
        unquote(parts.path) if parts.scheme == "unix" else (unquote(parts.hostname or "localhost"), port),
        login,
        database,
        CONNECT_TIMEOUT if timeouts[0] is None else timeouts[0],
        ANSWER_TIMEOUT if timeouts[1] is None else timeouts[1],
    )


class Lines:
    """Connections to one server, opened when needed. Usable by all threads; a forked process opens its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[_Line] = deque()
        self._process = os.getpid()

    def connect(self) -> None:
        """Open a connection for the next command.

        Raises:
            Broken: the connection could not be opened.
        """
        try:
            self.give_back(self._take())
        except OSError as error:
            raise Broken(str(error)) from error

    def ask(self, *arguments: str | bytes | int | float) -> Any:
        """Send a command and return its answer.

        Raises:
            Broken: the connection failed, or could not be opened.
            Refused: the answer is an error.
        """
        return self.begin(*arguments).answer()

    def begin(self, *arguments: str | bytes | int | float) -> Asked:
        """Send a command and return a handle for reading its answer later.

        Raises:
            Broken: the connection failed, or could not be opened.
        """
        try:
            line = self._take()
            try:
                line.send(arguments)
            except BaseException:
                line.close()
                raise
        except OSError as error:
            raise Broken(str(error)) from error
        return Asked(self, line)

    def give_back(self, line: _Line) -> None:
        """Return a connection without pending answers to the pool."""
        self._idle.append(line)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> _Line:
        if self._process != os.getpid():
            self._idle, self._process = deque(), os.getpid()
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:
                break  # another thread has taken it
            if line.is_sound():
                return line
            line.close()
        return _Line(self._address)


class Asked:
    """A command that was sent."""

    __slots__ = ("_line", "_lines")

    def __init__(self, lines: Lines, line: _Line) -> None:
        self._lines = lines
        self._line = line

    def answer(self) -> Any:
        """Wait for the answer. Call it once.

        Raises:
            Broken: the connection failed.
            Refused: the answer is an error.
        """
        try:
            answer = self._line.receive()
        except BaseException as error:
            # After an interrupt, too: the pending answer would be mistaken for that of the next command.
            self._line.close()
            if isinstance(error, OSError | hiredis.ProtocolError):
                raise Broken(str(error)) from error
            raise
        self._lines.give_back(self._line)
        if isinstance(answer, hiredis.ReplyError):
            raise Refused(str(answer))
        return answer


class _Line:
    """One connection. Its methods raise OSError and the errors of hiredis."""

    def __init__(self, address: Address) -> None:
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape", notEnoughData=_UNFINISHED)
        self._socket = _connect(address)
        # eventlet removes `poll`. A stale connection is then noticed when it is used.
        self._news = select.poll() if hasattr(select, "poll") else None
        if self._news is not None:
            self._news.register(self._socket, select.POLLIN)
        try:
            if address.login:
                self._expect_ok("AUTH", *address.login)
            if address.database:
                self._expect_ok("SELECT", address.database)
        except BaseException:
            self.close()
            raise

    def send(self, arguments: Sequence[str | bytes | int | float]) -> None:
        self._socket.sendall(_packed(arguments))

    def receive(self) -> Any:
        while (answer := self._reader.gets()) is _UNFINISHED:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise ConnectionError("the server hung up")
            self._reader.feed(data)
        return answer

    def is_sound(self) -> bool:
        """Return whether the server has neither closed the connection nor sent data since the last answer."""
        return self._news is None or not self._news.poll(0)

    def close(self) -> None:
        self._socket.close()

    def _expect_ok(self, *arguments: str | int) -> None:
        self.send(arguments)
        answer = self.receive()
        if answer != "OK":
            raise ConnectionError(str(answer))


def _connect(address: Address) -> socket.socket:
    if isinstance(address.place, str):
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(address.connect_timeout)
            made.connect(address.place)
        except BaseException:
            made.close()
            raise
    else:
        made = socket.create_connection(address.place, address.connect_timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.settimeout(address.timeout)
    return made


def _packed(arguments: Sequence[str | bytes | int | float]) -> bytes:
    # hiredis gets no numbers; see runner.ledger.packer.
    written: list[Any] = [str(word) if isinstance(word, int | float) else word for word in arguments]
    try:
        packed: bytes = hiredis.pack_command(tuple(written))
    except UnicodeEncodeError:
        # Text from Redis that is not UTF-8.
        written = [word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word for word in written]
        packed = hiredis.pack_command(tuple(written))
    return packed
