"""The folder for the runner's state on this host, opened so that no other user can redirect it.

Root runs commands in folders of users. So every file is read and written through an open folder that belongs to this
user, and never through a symbolic link that somebody else may have made.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import InvalidSettings
from runner.host.users import user_name

_HINT = "set state_dir (RUNNER_STATE_DIR) to a folder of yours"


class StateFolder:
    """An open folder that belongs to this user."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def open(self, name: str, flags: int) -> int:
        """Open a file in the folder and return its descriptor. A new file is readable by this user only.

        Raises:
            InvalidSettings: it is a symbolic link, not a regular file, owned by another user, or cannot be opened.
            FileNotFoundError: it does not exist, and ``flags`` does not create it.
        """
        path = self.path / name
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _odd(path, "is a link or no file" if error.errno in (errno.ELOOP, errno.ENXIO) else error) from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise _odd(path, "is not a regular file")
        if status.st_uid != os.geteuid():
            os.close(descriptor)
            raise _odd(path, f"belongs to {user_name(status.st_uid)}")
        os.set_blocking(descriptor, True)
        return descriptor

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    @contextmanager
    def folder(self, name: str) -> Iterator[StateFolder]:
        """Open a folder in it, creating it if necessary. Raises the same errors as :func:`state_folder`."""
        path = self.path / name
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._descriptor)
            descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._descriptor)
        except OSError as error:
            raise _odd(path, "is a link or no folder" if error.errno in _NO_FOLDER else error) from None
        yield from _opened(path, descriptor)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_FOLDER = (errno.ELOOP, errno.ENOTDIR)


@contextmanager
def state_folder(path: Path) -> Iterator[StateFolder]:
    """Open the folder, creating it if necessary.

    Raises:
        InvalidSettings: it belongs to another user, or cannot be created or opened.
    """
    try:
        link = path.lstat()
    except FileNotFoundError:
        _make(path)
        link = path.lstat()
    except OSError as error:
        raise _odd(path, error) from None
    is_link = stat.S_ISLNK(link.st_mode)
    if is_link and link.st_uid != os.geteuid():
        # The link may point to another folder of this user.
        raise _odd(path, f"is a link that belongs to {user_name(link.st_uid)}")
    try:
        descriptor = os.open(path, _FOLDER | (0 if is_link else os.O_NOFOLLOW))
    except OSError as error:
        raise _odd(path, "is not a folder" if error.errno in _NO_FOLDER else error) from None
    yield from _opened(path, descriptor)


def is_own(path: Path) -> bool:
    """Return whether a folder belongs to this user; for a symbolic link, whether the link does, too."""
    me = os.geteuid()
    try:
        return path.lstat().st_uid == me and path.stat().st_uid == me
    except OSError:
        return False


def read_own(path: Path, most: int) -> bytes:
    """Read a file that this user owns, in a folder that this user owns.

    Raises:
        OSError: it does not exist, is a symbolic link or not a regular file, belongs to another user, or is longer than
            ``most`` bytes.
    """
    if not is_own(path.parent):
        raise PermissionError(errno.EPERM, "its folder belongs to somebody else", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_size > most:
            raise PermissionError(errno.EPERM, "it is not a file of this user", str(path))
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def read_private(path: Path) -> bytes:
    """Return the content of a file that nobody but this user can have written.

    Raises:
        OSError: it does not exist, is a symbolic link or not a regular file, belongs to another user, or others may
            write to it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not is_private(status):
            raise PermissionError(errno.EPERM, "it is not a private file of this user", str(path))
        return file.read()


def replace_private(path: Path, data: bytes) -> None:
    """Replace a file by one that only this user may read. Raises OSError."""
    temporary = path.parent / f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def is_private(status: os.stat_result) -> bool:
    """Return whether a file or folder belongs to this user, and nobody else may write to it."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def may_make(parent: Path) -> bool:
    """Return whether this user may create a folder in ``parent`` without locking out the owner of ``parent``.

    The user could not write to a folder that root leaves in their project.
    """
    status, me = parent.stat(), os.geteuid()
    if status.st_uid == me or (status.st_mode & stat.S_ISVTX and status.st_mode & stat.S_IWOTH):
        return True
    # Root is never locked out: a container with any user id may write to the folders that its image prepared.
    return me != 0 and status.st_uid == 0 and os.access(parent, os.W_OK)


def _make(path: Path) -> None:
    try:
        if not may_make(path.parent):
            owner = user_name(path.parent.stat().st_uid)
            raise InvalidSettings(
                f"{path.parent} belongs to {owner}, so {path.name} is not created there",
                hint=f"run it as {owner}, or {_HINT}",
            )
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    except OSError as error:
        raise _odd(path, error) from None


def _opened(path: Path, descriptor: int) -> Iterator[StateFolder]:
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise _odd(path, f"belongs to {user_name(status.st_uid)}")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.fchmod(descriptor, 0o700)
        yield StateFolder(path, descriptor)
    finally:
        os.close(descriptor)


def _odd(path: Path, what: str | OSError) -> InvalidSettings:
    if isinstance(what, OSError):
        return InvalidSettings(f"{path} cannot be used: {what.strerror}", hint=_HINT)
    return InvalidSettings(f"{path} {what}, and is not used", hint=f"remove it, or {_HINT}")
