"""Renew the state that forked siblings must not share: random generators, connections, and threads.

Random generators are found in the parent, because searching a child would copy all of its memory; each child reseeds
them. About connections and threads, a worker can only warn.
"""

from __future__ import annotations

import _random
import contextlib
import ctypes
import gc
import os
import random
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery.utils.log import get_logger

log = get_logger(__name__)

ADVICE = "do that in a receiver of celery.signals.worker_process_init"

SEED_BYTES = 32

_GENERATOR: random.Random = random._inst

_DESCRIPTORS = Path("/proc/self/fd")


class Generators:
    """The random generators of this process at its creation."""

    def __init__(self) -> None:
        numpy = sys.modules.get("numpy.random")
        types = (random.Random, *((numpy.Generator, numpy.RandomState) if numpy is not None else ()))
        # Compare types: `isinstance` also asks the object, and a lazy object would then be created, or raise.
        self._found = [obj for obj in gc.get_objects() if issubclass(type(obj), types)]

    def reseed(self) -> None:
        """Reseed all of them, and the process-wide generators of libraries."""
        for generator in self._found:
            # A subclass may need other arguments.
            with contextlib.suppress(Exception):
                _reseed(generator)
        reseed_libraries()
        ssl.RAND_add(os.urandom(32), 32.0)


def _reseed(generator: Any) -> None:
    bits = getattr(generator, "bit_generator", None)
    if bits is not None:
        bits.state = type(bits)().state
    else:
        generator.seed()


def reseed_libraries(*, used_ones: bool = False) -> None:
    """Reseed the process-wide generators of libraries.

    Args:
        used_ones: skip Python's generator if it was not used since its last seed here.
    """
    global _seeded
    if not used_ones or _seeded is None or _state() != _seeded:
        # After each run. The default seed reads 2,500 bytes from the kernel and takes twice as long.
        random.seed(int.from_bytes(os.urandom(SEED_BYTES), "big"))
        _seeded = _state()
    for name in ("numpy.random", "torch.random"):
        if (module := sys.modules.get(name)) is not None:
            with contextlib.suppress(Exception):
                module.seed()


_seeded: bytes | None = None
"""The state of Python's generator after its last seed; None if unknown."""

_HEAD = object.__basicsize__


def _state() -> bytes | None:
    """Return the raw state of Python's generator; `getstate` converts it, and takes longer than a new seed."""
    if sys.implementation.name != "cpython":
        return None
    # Its C state is between the header of all objects and the additions of Python classes.
    return ctypes.string_at(id(_GENERATOR) + _HEAD, _random.Random.__basicsize__ - _HEAD)


class Shared:
    """Warns about connections and threads that code leaves in the parent: forks share connections and lack threads."""

    def __init__(self) -> None:
        self._names = _names()
        self._sockets = set(_sockets())
        self._threads = set(threading.enumerate())

    def warn(self, what: str) -> None:
        """Log new connections and threads since the last call.

        Args:
            what: the code that has run since, as the subject of the warning.
        """
        # There may be thousands of jobs, and few of them open anything.
        if (names := _names()) != self._names:
            self._names, before, self._sockets = names, self._sockets, set(_sockets())
            for connection in sorted(self._sockets - before):
                log.warning("%s opened %s, which all processes of this worker share: %s", what, connection, ADVICE)
        if new := set(threading.enumerate()) - self._threads:
            self._threads |= new
            for name in sorted(thread.name for thread in new):
                log.warning("%s started thread %s, which the processes of runs do not have: %s", what, name, ADVICE)


def _names() -> list[str]:
    try:
        return sorted(os.listdir(_DESCRIPTORS))  # noqa: PTH208 - pathlib takes four times as long
    except OSError:
        return []


def _sockets() -> Iterator[str]:
    """Yield the connections of this process to others, as text (Linux only)."""
    with contextlib.suppress(OSError):
        for path in _DESCRIPTORS.iterdir():
            with contextlib.suppress(OSError, ValueError):
                if not str(path.readlink()).startswith("socket:"):
                    continue
                with socket.socket(fileno=os.dup(int(path.name))) as connection:
                    # A socket pair, or an unconnected socket, has no peer.
                    if peer := connection.getpeername():
                        yield f"a connection to {_shown(peer)} (descriptor {path.name})"


def _shown(peer: tuple[object, ...] | str | bytes) -> str:
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return os.fsdecode(peer)
