"""Limit the connections of the server, and choose the one to close when there are too many.

A connection whose peer is awaited gives way to a new one: it idles, sends slowly, takes nothing of its response, or has
sent more requests than were answered (browsers and proxies do not). So those who hold connections without using them
cannot keep others out.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from runner._dataclass import dataclass

WANTED_FILES = 4096
OTHER_FILES = 24
"""Descriptors for the log, the loop, files that are read, and so on."""


@dataclass(frozen=True, slots=True)
class Room:
    """The limits that follow from the number of descriptors."""

    connections: int
    backlog: int
    """Connections that are accepted at once, before any of them can be refused."""
    threads: int
    """Each may have a connection to Redis."""


def room_of(files: int) -> Room:
    """Return the limits of a process with ``files`` file descriptors."""
    threads, backlog = max(4, min(40, files // 8)), max(4, min(32, files // 8))
    return Room(max(8, min(2000, files - OTHER_FILES - threads - backlog)), backlog, threads)


class Connection(Protocol):
    """The part of a connection that is used here."""

    peer: str
    """The address that it is counted under."""

    def waits_since(self) -> float | None:
        """Return since when its peer is awaited, as ``time.monotonic()`` tells; None while the server works for it."""

    def check_progress(self) -> None:
        """Give it up if its peer takes nothing of a response for too long."""

    def give_up(self) -> None:
        """End it at once."""


class Connections:
    """The connections of one server.

    Args:
        most: how many there may be.
        is_exempt: whether an address may have all of them, as that of a proxy; others may have half.
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
        """Take a new connection in, in the place of another if need be; return False if there is no place."""
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
        """Give those up whose peers take nothing."""
        for each in list(self._open):
            each.check_progress()

    def _first_to_go(self, peer: str | None) -> Connection | None:
        """Return, of those whose peers are awaited, one of the address that has most; of these, the longest."""
        waiting = [
            (-self._by_peer[each.peer], since, number, each)
            for number, each in enumerate(self._open)
            if peer in (None, each.peer) and (since := each.waits_since()) is not None
        ]
        return min(waiting)[3] if waiting else None


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as is useful; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # what there is has to do
    return WANTED_FILES if soft == resource.RLIM_INFINITY else min(soft, WANTED_FILES)
