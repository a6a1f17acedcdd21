"""Names and home folders of users. A user may have no passwd entry: a container can run with any user id."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path


class NoHome(ValueError):
    """``~`` cannot be expanded: the user has no home folder, or does not exist."""


def user_name(uid: int) -> str:
    """Return the name of a user, or ``uid NUMBER`` without a passwd entry."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def account(uid: int) -> str:
    """Return a user in the form that chown and install take: the name, or the id without a passwd entry."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def sudo_user(uid: int) -> str:
    """Return a user in the form that ``sudo -u`` takes: the name, or ``#`` and the id without a passwd entry."""
    name = account(uid)
    return f"'#{uid}'" if name == str(uid) else name


def current_user() -> str:
    """Return the name of this user: ``LOGNAME``, ``USER``, the name in the passwd entry, or the user id."""
    import getpass  # start-up time: most commands name nobody

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.geteuid())


def home_of(environ: Mapping[str, str]) -> Path | None:
    """Return the home folder of this user; None without one."""
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
        NoHome: ``~`` cannot be expanded.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise NoHome(f"{path.parts[0]} has no home folder here, write the full path") from None
