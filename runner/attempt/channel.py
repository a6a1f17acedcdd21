"""The channel between a taker and its worker's parent: lines of JSON over a pair of sockets."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque

from runner.app.celery_types import JsonObject
from runner.attempt.descriptors import identity_of


class ParentGone(Exception):
    """The parent of this taker has ended."""


class Channel:
    """One end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._identity = identity_of(end.fileno())
        self._rest = b""
        self._heard: deque[JsonObject] = deque()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._end.fileno()

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def is_whole(self) -> bool:
        """Return whether no job has closed this end; its number may belong to another file now."""
        return identity_of(self._end.fileno()) == self._identity

    def break_off(self) -> None:
        """Stop sending and receiving."""
        with contextlib.suppress(OSError):
            self._end.detach()

    def send(self, **message: object) -> None:
        """Send a line; do nothing if the other end is closed."""
        with contextlib.suppress(OSError):
            self._end.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def hear(self, seconds: float | None = None) -> JsonObject | None:
        """Return the next line, or None after ``seconds`` without one.

        Raises:
            ParentGone: the other end is closed.
        """
        while not self._heard:
            self._end.settimeout(seconds)
            try:
                data = self._end.recv(65536)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError:
                data = b""
            finally:
                self._end.settimeout(None)
            if not data:
                raise ParentGone
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._heard.extend(json.loads(line) for line in lines)
        return self._heard.popleft()

    def hear_all(self) -> list[JsonObject]:
        """Return the lines that have arrived, without waiting.

        Raises:
            ParentGone: the other end is closed, and all of its lines were read.
        """
        found = []
        try:
            while (message := self.hear(0.0)) is not None:
                found.append(message)
        except ParentGone:
            if not found:
                raise
        return found
