"""Bare connections to Redis, for programs that submit and read runs.

redis-py takes longer to import than all the rest of a submission, and spends more time on a command than hiredis and
the kernel together. So the first try of a script goes over a connection of this module, where the URL says nothing but
how to find a server and log in. With TLS or Sentinel, and wherever something goes wrong here, redis-py does it.
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
    """There is no connection, or it failed; a command that was sent may have been obeyed."""


class Refused(Exception):
    """Redis answered with an error; the text is that of the answer."""


class Address(NamedTuple):
    """The address of a server and the login. Times are seconds."""

    place: str | tuple[str, int]
    login: tuple[str, ...]
    database: int
    connect_timeout: float
    timeout: float


def read_address(url: str) -> Address | None:
    """Parse a URL in canonical form as redis-py does; None if it has options that this module does not know."""
    parts = urlsplit(url)
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme not in ("redis", "unix") or set(said) - {"db", "socket_timeout", "socket_connect_timeout"}:
        return None
    of_path = "" if parts.scheme == "unix" else unquote(parts.path).replace("/", "")
    try:
        database = int(said.get("db") or of_path or 0)
        timeouts = [
            float(said[name]) if name in said else None for name in ("socket_connect_timeout", "socket_timeout")
        ]
        port = parts.port or 6379
    except ValueError:
        return None  # redis-py tells what is wrong with it
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
    """Connections to one server, made as they are needed; for all threads, and anew in each forked process."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[_Line] = deque()
        self._process = os.getpid()

    def connect(self) -> None:
        """Have a connection open for the next command.

        Raises:
            Broken: it could not be made.
        """
        try:
            self.give_back(self._take())
        except OSError as error:
            raise Broken(str(error)) from error

    def ask(self, *words: str | bytes | int | float) -> Any:
        """Send a command and return its answer.

        Raises:
            Broken: the connection failed, or could not be made.
            Refused: the answer is an error.
        """
        return self.begin(*words).answer()

    def begin(self, *words: str | bytes | int | float) -> Asked:
        """Send a command whose answer is fetched later.

        Raises:
            Broken: the connection failed, or could not be made.
        """
        try:
            line = self._take()
            try:
                line.send(words)
            except BaseException:
                line.close()
                raise
        except OSError as error:
            raise Broken(str(error)) from error
        return Asked(self, line)

    def give_back(self, line: _Line) -> None:
        """Take a connection back on which no answer is left to come."""
        self._idle.append(line)

    def close(self) -> None:
        """Close those connections that nobody is using."""
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
        """Wait for the answer; to be called once.

        Raises:
            Broken: the connection failed.
            Refused: the answer is an error.
        """
        try:
            answer = self._line.receive()
        except BaseException as error:
            # An interrupt, too: the answer is still to come, and would be taken for that of the next command.
            self._line.close()
            if isinstance(error, OSError | hiredis.ProtocolError):
                raise Broken(str(error)) from error
            raise
        self._lines.give_back(self._line)
        if isinstance(answer, hiredis.ReplyError):
            raise Refused(str(answer))
        return answer


class _Line:
    """One connection. Raises OSError, and hiredis' errors, wherever it fails."""

    def __init__(self, address: Address) -> None:
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape", notEnoughData=_UNFINISHED)
        self._socket = _connect(address)
        # eventlet takes `poll` away. A stale connection is then found out by its use.
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

    def send(self, words: Sequence[str | bytes | int | float]) -> None:
        self._socket.sendall(_packed(words))

    def receive(self) -> Any:
        while (answer := self._reader.gets()) is _UNFINISHED:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise ConnectionError("the server hung up")
            self._reader.feed(data)
        return answer

    def is_sound(self) -> bool:
        """Whether the other end has neither hung up nor said anything unasked since the last answer."""
        return self._news is None or not self._news.poll(0)

    def close(self) -> None:
        self._socket.close()

    def _expect_ok(self, *words: str | int) -> None:
        self.send(words)
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


def _packed(words: Sequence[str | bytes | int | float]) -> bytes:
    # No numbers for hiredis; see runner.ledger.packer.
    written: list[Any] = [str(word) if isinstance(word, int | float) else word for word in words]
    try:
        packed: bytes = hiredis.pack_command(tuple(written))
    except UnicodeEncodeError:
        # What was read from Redis and is no UTF-8.
        written = [word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word for word in written]
        packed = hiredis.pack_command(tuple(written))
    return packed
