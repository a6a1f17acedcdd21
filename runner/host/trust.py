"""Decide which files are trusted, because files decide what code runs with this user's rights.

There are two rules. A world-writable file or folder is refused, unless nobody else can write there in practice (a
read-only mount, or a Kubernetes ConfigMap in a container with one user). And if a project was found by searching
upward, its files must belong to this user or to root, as with git's ``safe.directory``. Both rules exempt folders that
a setting names as trusted.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path

from runner._dataclass import dataclass
from runner.host.users import user_name

_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
_CONTAINER_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")
_CONFIG_MAP_LINK = "..data"

SETTING = "trusted_folders"
VARIABLE = "RUNNER_TRUSTED_FOLDERS"


@dataclass(frozen=True, slots=True)
class Trust:
    """The rules for one project. ``found`` is True if it was found by searching upward instead of by ``--project``."""

    found: bool = False
    folders: tuple[str, ...] = ()

    def stranger(self, path: Path | str, owner: int) -> str | None:
        """Return the owner's name if this file or folder is refused because of its owner; None if it is not."""
        if not self.found or owner in _own_ids() or self.names(path):
            return None
        return user_name(owner)

    def is_open(self, path: Path | str, status: os.stat_result) -> bool:
        """Return whether any user could have written this file, or a file in this folder."""
        if not status.st_mode & stat.S_IWOTH or is_read_only(path):
            return False
        if self.names(path):
            return False
        return not (status.st_uid in (0, os.geteuid()) and in_config_map(path) and is_alone())

    def names(self, path: Path | str) -> bool:
        """Return whether ``path`` is a trusted folder or lies in one."""
        if not self.folders:
            return False
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(os.path.realpath(folder)) for folder in self.folders)


NAMED = Trust()
"""The rules for a project or file that the user named."""


def closing_hint(path: Path | str, status: os.stat_result, shown: str, run: str = "run: ") -> str:
    """Return the remedy for a world-writable file or folder, as the end of a sentence.

    ``run`` is the text before a command.
    """
    if os.geteuid() not in (0, status.st_uid) or in_config_map(path):
        folder = path if stat.S_ISDIR(status.st_mode) else os.path.dirname(path)
        return f"mount it read-only, or name it as trusted if nobody else can: {VARIABLE}={folder}"
    return f"{run}chmod o-w {shown}"


def untrusted(trust: Trust, path: Path | str, status: os.stat_result, shown: str) -> str | None:
    """Return the reason why an open file is not trusted, or None."""
    if trust.is_open(path, status):
        return f"anybody may write to this file, {closing_hint(path, status, shown)}"
    owner = trust.stranger(path, status.st_uid)
    if owner is not None:
        return belongs(owner, "file")
    if os.path.islink(path):
        folder = os.path.dirname(os.path.realpath(path))
        if trust.is_open(folder, os.stat(folder)):
            return f"links to a file in {folder}, where anybody may write; copy it here"
    return None


def belongs(owner: str, what: str) -> str:
    """Return the error message for a file or folder (``what``) of another user."""
    return (
        f"this {what} belongs to {owner}, and is not read in a project that was found by searching; if you trust "
        f"{owner}, name the project with --project, or its folder in {SETTING}"
    )


def is_read_only(path: Path | str) -> bool:
    """Return whether ``path`` lies on a read-only mount."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def in_config_map(path: Path | str) -> bool:
    """Return whether ``path`` is or lies in a folder mounted by Kubernetes, whose files link through ``..data``."""
    real = os.path.realpath(path)
    folders = (real, os.path.dirname(real), os.path.dirname(os.path.dirname(real)))
    return any(os.path.islink(os.path.join(folder, _CONFIG_MAP_LINK)) for folder in folders)


@lru_cache(maxsize=1)
def is_alone() -> bool:
    """Return whether this is a container in which only this user and root have processes."""
    if not any(map(os.path.exists, _CONTAINER_FILES)) and not any(name in os.environ for name in _CONTAINER_VARIABLES):
        return False
    users = set()
    try:
        with os.scandir("/proc") as entries:
            for entry in entries:
                if entry.name.isdecimal():
                    try:
                        users.add(entry.stat().st_uid)
                    except OSError:
                        continue  # the process has ended
    except OSError:
        return False
    return users <= {0, os.geteuid()}


def _own_ids() -> set[int]:
    """Return the ids of the users whose files are trusted: this user, root, and under sudo the user who called it."""
    me = os.geteuid()
    typed = os.environ.get("SUDO_UID", "")
    return {0, me, *([int(typed)] if me == 0 and typed.isdecimal() else [])}
