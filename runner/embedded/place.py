"""The files of the embedded server, and their owner."""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
import stat
import subprocess
import sys
from pathlib import Path

from runner._dataclass import dataclass
from runner.embedded.client import pid_alive
from runner.errors import Unavailable
from runner.host.process import has_open
from runner.host.state import may_make
from runner.host.users import account, sudo_user

SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""The maximum length of a Unix socket's path: ``sun_path`` without its final NUL."""

START_TIMEOUT = 60.0
"""Seconds in which a server must answer, including the time to load a large append-only file."""
STOP_TIMEOUT = 20.0
"""Seconds in which a server must end after a request."""
LOCK_PATIENCE = START_TIMEOUT + STOP_TIMEOUT
"""Seconds to wait for another command that is starting or stopping the server."""

OWN_REDIS = "set redis_url to a Redis of your own"
OTHER_FOLDER = "set state_dir (RUNNER_STATE_DIR) to a folder of yours"


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one server."""

    folder: Path
    socket: str

    @property
    def data(self) -> Path:
        """Return the folder of the append-only file."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """Return the path of the server's log."""
        return self.folder / "log" / "server.log"

    @property
    def lock(self) -> Path:
        """Return the file that a server locks during its whole life."""
        return self.folder / "server.lock"

    @property
    def start_lock(self) -> Path:
        """Return the file that is locked while the server is started or stopped."""
        return self.folder / "start.lock"

    def lock_holders(self) -> list[int]:
        """Return the other processes of this user that have ``server.lock`` open."""
        if not self.lock.exists():
            return []
        if Path("/proc/self/fd").is_dir():
            lock = self.lock.stat()
            return [pid for pid in _own_processes() if pid != os.getpid() and pid_alive(pid) and has_open(pid, lock)]
        return self._ask_lsof()

    def _ask_lsof(self) -> list[int]:
        try:
            found = subprocess.run(["lsof", "-t", str(self.lock)], capture_output=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return []
        return [int(pid) for pid in found.stdout.split() if int(pid) != os.getpid()]


def _own_processes() -> list[int]:
    me = os.geteuid()
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and entry.stat().st_uid == me:
                pids.append(int(entry.name))
        except OSError:
            continue
    return pids


def prepare(folder: Path) -> Place:
    """Create the folder ``.runner`` if necessary, and return the paths of its files.

    Raises:
        Unavailable: the folder belongs to another user, or cannot be written to.
    """
    _make_folder(folder)
    _refuse_odd_objects(folder)
    try:
        for name in ("data", "log"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise _unwritable(folder, error) from error
    return Place(folder, _socket_path(folder))


def existing(folder: Path) -> Place | None:
    """Return the paths in an existing folder ``.runner``, or None, without creating it.

    Raises:
        Unavailable: as :func:`prepare`.
    """
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    return prepare(folder)


def _make_folder(folder: Path) -> None:
    me = os.geteuid()
    try:
        found = folder.lstat()
    except FileNotFoundError:
        project = folder.parent
        try:
            if not may_make(project):
                raise _foreign(project, project.stat().st_uid) from None
        except OSError as error:
            raise _unwritable(project, error) from error
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass  # another command created it first
        except OSError as error:
            raise _unwritable(project, error) from error
        found = folder.lstat()
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    if stat.S_ISLNK(found.st_mode):
        if found.st_uid != me:
            # The link may point to the server of another project of this user.
            raise _foreign(folder, found.st_uid)
        found = folder.stat() if folder.exists() else found
    if not stat.S_ISDIR(found.st_mode):
        raise Unavailable(
            f"{folder} is not a folder", hint=f"remove it: the embedded server lives there; or {OWN_REDIS}"
        )
    if found.st_uid != me:
        raise _foreign(folder, found.st_uid)
    if found.st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except OSError as error:
            raise _unwritable(folder, error) from error


def _refuse_odd_objects(folder: Path) -> None:
    """Refuse objects of other types in place of the server's files and folders: using them could fail or hang."""
    for name in ("data", "log"):
        path = folder / name
        if os.path.lexists(path) and not path.is_dir():
            raise _odd(path, "is not a folder")
    for name in ("redis.sock", "server.json", "last-server.json", ".server.json.new"):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            raise _odd(path, "is a folder, and a file of the embedded server has its name")
    path = folder / "log" / "server.log"
    if path.exists() and not path.is_file():
        raise _odd(path, "is not a regular file")


def _odd(path: Path, what: str) -> Unavailable:
    return Unavailable(f"{path} {what}", hint=f"remove it: rm -r {shlex.quote(str(path))}")


def _foreign(path: Path, owner: int) -> Unavailable:
    return Unavailable(
        f"{path} belongs to {account(owner)}, and only its owner can start or use its embedded server",
        hint=f"for a server of your own, {OTHER_FOLDER}; for that server, run the command as {account(owner)} "
        f"(sudo -u {sudo_user(owner)} …, docker run --user {owner} …); or {OWN_REDIS}",
    )


def _unwritable(folder: Path, error: OSError) -> Unavailable:
    if error.errno == 28:
        return Unavailable(f"no space left for {folder}", hint="free space on its disk")
    return Unavailable(
        f"{folder} cannot be written to, so there can be no embedded server: {error.strerror}",
        hint=f"make it writable for {account(os.geteuid())}, {OTHER_FOLDER}, or {OWN_REDIS}",
    )


def _socket_path(folder: Path) -> str:
    """Return the path of the socket: in the folder, or under ``/tmp`` if that path is too long or cannot be bound.

    The path under ``/tmp`` depends only on the user and the folder, because cron sets neither ``TMPDIR`` nor
    ``XDG_RUNTIME_DIR``.
    """
    path = str(folder / "redis.sock")
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES and _binds(folder):
        return path
    home = Path("/tmp") / f"runner-{os.geteuid()}"
    hashed = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    for socket_folder in (home, home / hashed):
        _make_private(socket_folder)
    return str(home / hashed / "redis.sock")


def _binds(folder: Path) -> bool:
    """Return whether a socket can be bound in the folder; some network and shared file systems do not support that."""
    probe = folder / f".{os.getpid() % 100_000:05d}"
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(probe))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise _unwritable(folder, error) from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Unavailable(
            f"{folder}, the place for sockets of long paths, is not a private folder of {account(os.geteuid())}",
            hint=f"remove it, or move the project to a shorter path, or {OWN_REDIS}",
        )
