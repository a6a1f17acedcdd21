"""Names and homes of users, also where a user has no entry: a container may run under any number."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path


class NoHome(ValueError):
    """``~`` stands for no folder: the user has none, or there is no such user."""


def user_name(uid: int) -> str:
    """Return the name of a user; of one without an entry, ``uid NUMBER``."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def account(uid: int) -> str:
    """Return a user as chown and install take it: the name, or the number if there is no passwd entry."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def sudo_user(uid: int) -> str:
    """Return a user as ``sudo -u`` takes it: the name, or ``#`` and the number if there is no passwd entry."""
    name = account(uid)
    return f"'#{uid}'" if name == str(uid) else name


def current_user() -> str:
    """Return the name of this user (``LOGNAME``, ``USER``, or that of the entry), else the number."""
    import getpass  # start-up time: most commands name nobody

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.geteuid())


def home_of(environ: Mapping[str, str]) -> Path | None:
    """Return the home folder of this user, None if there is none."""
    home = environ.get("HOME")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(home)


def expand_home(path: Path) -> Path:
    """Return ``path`` with its leading ``~`` replaced.

    Raises:
        NoHome: it stands for no folder.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise NoHome(f"{path.parts[0]} stands for no folder here, write the whole path") from None
