"""The crontab of this user: read, changed under a lock, written through the program ``crontab``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import CrontabError

PLACES = os.pathsep.join(["/usr/local/bin", "/usr/bin", "/bin"])
_PATIENCE = 30.0

Edit = Callable[[bytes], bytes]
_NONE = ("no crontab", "no such file")
_REMEDY = (
    "install cron (apt-get install cron), or have systemd do it: runner cron show --systemd; "
    "runner scheduler needs neither"
)


def read() -> bytes | None:
    """Return the crontab of this user; None without one.

    Raises:
        CrontabError: the program ``crontab`` is missing or fails.
    """
    done = _call("-l")
    if done.returncode == 0:
        return done.stdout
    if any(phrase in _error_of(done).lower() for phrase in _NONE):
        return None
    raise CrontabError(f"crontab -l: {_error_of(done)}", hint="ask the administrator of this host; see crontab(1)")


def change(edit: Edit) -> bool:
    """Replace the crontab by the result of ``edit``; return whether that is a change.

    Only one command of the runner does so at a time. An empty crontab is removed.

    Raises:
        CrontabError: as :func:`read`; also if the crontab could not be written, or changed meanwhile.
    """
    with _lock():
        before = read() or b""
        after = edit(before)
        if after == before:
            return False
        done = _call("-", text=after) if after else _call("-r")
        if done.returncode != 0:
            raise CrontabError(
                f"crontab: {_error_of(done)}",
                hint="nothing was changed; see crontab -l, and correct it with crontab -e",
            )
        if (read() or b"") != after:
            raise CrontabError(
                "the crontab is not what was written: another process changed it at the same time",
                hint="look at crontab -l, then try again",
            )
        return True


def _call(*arguments: str, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("crontab", path=os.pathsep.join([os.environ.get("PATH") or os.defpath, PLACES]))
    if program is None:
        raise CrontabError("there is no program crontab on this host", hint=_REMEDY)
    try:
        return subprocess.run(
            [program, *arguments],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except OSError as error:
        raise CrontabError(f"{program} cannot be run: {error.strerror}", hint=_REMEDY) from error


def _error_of(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).decode("utf-8", "replace").splitlines()]
    return "; ".join(line for line in lines if line) or f"it ended with {done.returncode}"


@contextmanager
def _lock() -> Iterator[None]:
    # One lock per user, on an existing folder, so that no file is left behind.
    descriptor, path = _lockable()
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CrontabError(
                        f"another command has been changing the crontab for {_PATIENCE:.0f} s",
                        hint=f"find it with: fuser -v {path}",
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _lockable() -> tuple[int, Path]:
    home = Path("/")
    with contextlib.suppress(KeyError):
        home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    for path in (home, Path("/")):
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path
    raise CrontabError(f"{home} cannot be opened", hint="give this user a home folder")
