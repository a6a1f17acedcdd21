"""Renew the state that forked siblings must not share: random generators, connections, threads.

Generators are found in the parent, since looking for them in a child would copy all of its memory, and get a new seed
in each child. Of connections and threads a worker can only warn.
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
    """The random generators that this process has when it is made."""

    def __init__(self) -> None:
        numpy = sys.modules.get("numpy.random")
        kinds = (random.Random, *((numpy.Generator, numpy.RandomState) if numpy is not None else ()))
        # By type alone: `isinstance` asks the object as well, and a lazy one would then be made, or raise.
        self._found = [each for each in gc.get_objects() if issubclass(type(each), kinds)]

    def reseed(self) -> None:
        """Give each of them a new seed, and the libraries that keep one for all of the process."""
        for each in self._found:
            # A class of somebody's may want to be seeded otherwise.
            with contextlib.suppress(Exception):
                _reseed(each)
        reseed_libraries()
        ssl.RAND_add(os.urandom(32), 32.0)


def _reseed(generator: Any) -> None:
    bits = getattr(generator, "bit_generator", None)
    if bits is not None:
        bits.state = type(bits)().state
    else:
        generator.seed()


def reseed_libraries(*, used_ones: bool = False) -> None:
    """Give the generator that each library keeps for the whole process a new seed.

    Args:
        used_ones: leave Python's own as it is if nobody in this process has used it since it was seeded here.
    """
    global _seeded
    if not used_ones or _seeded is None or _state() != _seeded:
        # After each run: its own way takes 2500 bytes from the kernel, and twice as long.
        random.seed(int.from_bytes(os.urandom(SEED_BYTES), "big"))
        _seeded = _state()
    for name in ("numpy.random", "torch.random"):
        if (module := sys.modules.get(name)) is not None:
            with contextlib.suppress(Exception):
                module.seed()


_seeded: bytes | None = None
"""The state of Python's own generator after it was seeded; None if that is not known."""

_HEAD = object.__basicsize__


def _state() -> bytes | None:
    """Return the state of Python's own generator: `getstate` makes numbers of it, and takes longer than a new seed."""
    if sys.implementation.name != "cpython":
        return None
    # What C keeps of it stands between what all objects have and what a class in Python adds.
    return ctypes.string_at(id(_GENERATOR) + _HEAD, _random.Random.__basicsize__ - _HEAD)


class Shared:
    """Warns of connections and threads that somebody's code leaves in the parent: its forks share, or lack them."""

    def __init__(self) -> None:
        self._names = _names()
        self._sockets = set(_sockets())
        self._threads = set(threading.enumerate())

    def warn(self, what: str) -> None:
        """Log what is new since the last look.

        Args:
            what: has run since, as the subject of the warning.
        """
        # There may be thousands of jobs, of which hardly any opens something.
        if (names := _names()) != self._names:
            self._names, before, self._sockets = names, self._sockets, set(_sockets())
            for each in sorted(self._sockets - before):
                log.warning("%s opened %s, which all processes of this worker share: %s", what, each, ADVICE)
        if new := set(threading.enumerate()) - self._threads:
            self._threads |= new
            for name in sorted(each.name for each in new):
                log.warning("%s started thread %s, which the processes of runs do not have: %s", what, name, ADVICE)


def _names() -> list[str]:
    try:
        return sorted(os.listdir(_DESCRIPTORS))  # noqa: PTH208 - pathlib takes four times as long
    except OSError:
        return []


def _sockets() -> Iterator[str]:
    """Yield the connections that this process has to others (Linux only), as text."""
    with contextlib.suppress(OSError):
        for each in _DESCRIPTORS.iterdir():
            with contextlib.suppress(OSError, ValueError):
                if not str(each.readlink()).startswith("socket:"):
                    continue
                with socket.socket(fileno=os.dup(int(each.name))) as connection:
                    # Of a pair, or one that is not connected, there is no peer to name.
                    if peer := connection.getpeername():
                        yield f"a connection to {_shown(peer)} (descriptor {each.name})"


def _shown(peer: tuple[object, ...] | str | bytes) -> str:
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return os.fsdecode(peer)
