"""Limit the connections of the server, and choose the one to close when there are too many.

A connection makes room for a new one if the server waits for its client: the client is idle, sends slowly, does not
read its response, or has sent more requests than were answered (browsers and proxies do not). So clients that hold
connections without using them cannot keep others out.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from runner._dataclass import dataclass

WANTED_FILES = 4096
OTHER_FILES = 24
"""How many descriptors the log, the event loop, files that are read, and so on may need."""


@dataclass(frozen=True, slots=True)
class Room:
    """The limits that follow from the limit of open files."""

    connections: int
    backlog: int
    """How many connections are accepted at once, before any of them can be refused."""
    threads: int
    """How many threads answer requests; each may have a connection to Redis."""


def room_of(files: int) -> Room:
    """Return the limits of a process with ``files`` file descriptors."""
    threads, backlog = max(4, min(40, files // 8)), max(4, min(32, files // 8))
    return Room(max(8, min(2000, files - OTHER_FILES - threads - backlog)), backlog, threads)


class Connection(Protocol):
    """A connection, as far as this module uses it."""

    peer: str
    """The address that it counts for."""

    def waits_since(self) -> float | None:
        """Return since when the server has waited for the client (``time.monotonic()``); None while it works."""

    def check_progress(self) -> None:
        """Close it if its client does not read for too long."""

    def give_up(self) -> None:
        """Abort it."""


class Connections:
    """The connections of one server.

    Args:
        most: the maximum number of connections.
        is_exempt: whether an address, such as a proxy's, may use all of them; others may use half.
    """

    def __init__(self, most: int, is_exempt: Callable[[str], bool]) -> None:
        self.most = most
        self.most_of_one = max(1, most // 2)
        self._is_exempt = is_exempt
        self._open: set[Connection] = set()
        self._by_peer: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, new: Connection) -> bool:
        """Admit a connection, if need be by closing another one; return False if none can be closed."""
        own = self._by_peer[new.peer] >= self.most_of_one and not self._is_exempt(new.peer)
        if own or len(self._open) >= self.most:
            leaving = self._first_to_go(new.peer if own else None)
            if leaving is None:
                return False
            self.leave(leaving)
            leaving.give_up()
        self._open.add(new)
        self._by_peer[new.peer] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        if connection in self._open:
            self._open.remove(connection)
            self._by_peer[connection.peer] -= 1
            if not self._by_peer[connection.peer]:
                del self._by_peer[connection.peer]

    def check_progress(self) -> None:
        """Close the connections whose clients do not read."""
        for connection in list(self._open):
            connection.check_progress()

    def _first_to_go(self, peer: str | None) -> Connection | None:
        """Return the connection to close: of the address with the most connections, the one that waits longest."""
        waiting = [
            (-self._by_peer[connection.peer], since, number, connection)
            for number, connection in enumerate(self._open)
            if peer in (None, connection.peer) and (since := connection.waits_since()) is not None
        ]
        return min(waiting)[3] if waiting else None


def raise_file_limit() -> int:
    """Raise the limit of open files of this process as far as is useful, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # go on with the limit as it is
    return WANTED_FILES if soft == resource.RLIM_INFINITY else min(soft, WANTED_FILES)
