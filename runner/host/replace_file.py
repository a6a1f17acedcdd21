"""Replace, create, and remove files in a folder that is open, so that no symbolic link can lead elsewhere.

A crash leaves the old content or the new one, and never a part of it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".runner-edit"
"""The file that is written before it takes its name. Its dot hides it from the reader of job files."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def folder_below(base: Path, names: Sequence[str], check: Callable[[Path, os.stat_result], None]) -> Iterator[int]:
    """Open a folder below ``base``, and yield its descriptor.

    Args:
        base: the folder to begin with, which may be a symbolic link.
        names: the folders to go through, none of which may be a symbolic link.
        check: called with the path and the status of each folder, ``base`` included; what it raises ends the search.

    Raises:
        OSError: a folder does not exist, is a symbolic link or a file (``ENOTDIR``), or cannot be opened.
    """
    path = base
    descriptor = os.open(base, _FOLDER & ~os.O_NOFOLLOW)
    try:
        check(path, os.fstat(descriptor))
        for name in names:
            path = path / name
            inner = os.open(name, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            check(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def staged(folder: int, data: bytes, former: os.stat_result | None) -> Iterator[None]:
    """Write ``data`` to a temporary file that :func:`take_name` gives its name; it is removed in the end otherwise.

    The caller makes sure that only one process writes to the folder in this way at a time.

    Args:
        folder: the descriptor of the folder.
        data: the content.
        former: the file that will be replaced, whose mode and owner are kept; None for a new file, with mode 0644 less
            the umask.

    Raises:
        OSError: the disk is full, the owner cannot be kept, or the folder cannot be written to.
    """
    with suppress(FileNotFoundError):
        os.unlink(TEMPORARY, dir_fd=folder)  # left by a crash
    descriptor = os.open(TEMPORARY, _NEW, 0o644 if former is None else 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if former is not None:
                _keep(descriptor, former)
            os.fsync(descriptor)
        yield
    finally:
        with suppress(OSError):
            os.unlink(TEMPORARY, dir_fd=folder)


def take_name(folder: int, name: str, *, replaces: bool) -> None:
    """Let the file that is staged take the name of the file that it replaces, or a new name.

    Raises:
        FileExistsError: the new name is taken.
        OSError: the folder cannot be written to.
    """
    if not replaces:
        # Unlike rename, this never replaces a file. A crash after it leaves an empty file, which declares no jobs.
        os.close(os.open(name, _NEW, 0o644, dir_fd=folder))
    try:
        os.rename(TEMPORARY, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        if not replaces:
            os.unlink(name, dir_fd=folder)
        raise
    os.fsync(folder)


def remove_file(folder: int, name: str) -> None:
    """Remove a file. Raises OSError."""
    os.unlink(name, dir_fd=folder)
    os.fsync(folder)


def _keep(descriptor: int, former: os.stat_result) -> None:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (former.st_uid, former.st_gid):
        try:
            os.fchown(descriptor, former.st_uid, former.st_gid)
        except PermissionError:
            raise PermissionError(errno.EPERM, "its owner or group would change") from None
    os.fchmod(descriptor, stat.S_IMODE(former.st_mode))
