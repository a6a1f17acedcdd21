"""File locks between commands, and between a command and the server."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import Unavailable


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a lock file in the block; its end releases the lock, unless another process inherited it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be opened: {error.strerror}", hint="remove it, if it is a link or a folder"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def take(descriptor: int, path: Path, *, seconds: float) -> bool:
    """Take the lock; return False if another process holds it for all of ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        except OSError as error:
            raise Unavailable(
                f"{path} is on a file system without locks: {error.strerror}",
                hint="keep the project on a local disk, or set redis_url to a Redis of your own",
            ) from error
        else:
            return True


@contextmanager
def held(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the lock for the block.

    Raises:
        Unavailable: the lock could not be taken within ``seconds``.
    """
    with opened(path) as descriptor:
        if not take(descriptor, path, seconds=seconds):
            raise Unavailable(
                f"another command has been starting or stopping the embedded server for {seconds:.0f} s",
                hint=f"find it with: fuser -v {path}",
            )
        yield
