"""Open files that somebody else named, without waiting for a pipe, reading a device, or reading without a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path | str, *, links: bool = True) -> int:
    """Open a regular file for reading and return its descriptor.

    Args:
        path: the file.
        links: whether it may be a symbolic link.

    Raises:
        OSError: it cannot be opened, or is a pipe, a device, a socket, or a folder; ``strerror`` says which.
    """
    # Without O_NONBLOCK, a pipe that nobody writes to would block forever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):  # a socket, or a device without a driver
            raise _not_regular(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def read_at_most(descriptor: int, most: int) -> bytes:
    """Read at most ``most`` + 1 bytes of an open file; the extra byte tells the caller that the file is longer."""
    parts, left = [], most + 1
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_regular(path: Path | str, most: int, *, links: bool = True) -> bytes:
    """Read at most ``most`` + 1 bytes of a regular file.

    Raises:
        OSError: as :func:`open_regular`.
    """
    descriptor = open_regular(path, links=links)
    try:
        return read_at_most(descriptor, most)
    finally:
        os.close(descriptor)


def write_regular(path: Path | str, data: bytes) -> None:
    """Write a regular file, creating it if necessary.

    Raises:
        OSError: it cannot be written, or is a pipe, a device, a socket, or a folder; ``strerror`` says which.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):  # a socket, or a pipe that nobody reads
            raise _not_regular(path) from None
        raise
    with os.fdopen(descriptor, "wb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_regular(path)
        file.truncate(0)
        file.write(data)


def _not_regular(path: Path | str) -> OSError:
    return OSError(errno.EINVAL, "it is not a regular file", str(path))
