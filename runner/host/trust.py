"""Decide whose files are trusted, since files decide which code runs with this user's rights.

Two rules. A file or folder that anybody can write to is refused wherever it is, unless nobody else can write there in
practice (a read-only mount; a ConfigMap of Kubernetes in a container with one user). And where a project was found by
searching upward, what it consists of must belong to this user or to root, as with git's ``safe.directory``. Folders
that somebody named as trusted are exempt from both.
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
    """The trust in one project. ``found`` is True if it was found by searching, and not named."""

    found: bool = False
    folders: tuple[str, ...] = ()

    def stranger(self, path: Path | str, owner: int) -> str | None:
        """Return the name of the owner if this file or folder is refused because of it."""
        if not self.found or owner in _own_ids() or self.names(path):
            return None
        return user_name(owner)

    def is_open(self, path: Path | str, status: os.stat_result) -> bool:
        """Return whether anybody could have written this file, or into this folder."""
        if not status.st_mode & stat.S_IWOTH or is_read_only(path):
            return False
        if self.names(path):
            return False
        return not (status.st_uid in (0, os.geteuid()) and in_config_map(path) and is_alone())

    def names(self, path: Path | str) -> bool:
        """Return whether ``path`` lies in a trusted folder, or is one."""
        if not self.folders:
            return False
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(os.path.realpath(folder)) for folder in self.folders)


NAMED = Trust()
"""What holds for a project, or a file, that was named."""


def closing_hint(path: Path | str, status: os.stat_result, shown: str, run: str = "run: ") -> str:
    """Return the remedy for a world-writable file or folder, as the end of a sentence.

    ``run`` stands before a command.
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
    """Return the reason for not reading a stranger's file or folder (``what``)."""
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
    """Return whether ``path`` is, or lies in, a folder of Kubernetes, whose files are links through ``..data``."""
    real = os.path.realpath(path)
    folders = (real, os.path.dirname(real), os.path.dirname(os.path.dirname(real)))
    return any(os.path.islink(os.path.join(folder, _CONFIG_MAP_LINK)) for folder in folders)


@lru_cache(maxsize=1)
def is_alone() -> bool:
    """Return whether this is a container in which no user but this one, and root, has a process."""
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
                        continue  # it has ended
    except OSError:
        return False
    return users <= {0, os.geteuid()}


def _own_ids() -> set[int]:
    """Return the user ids whose files are trusted: this user, root, and under sudo the user who called it."""
    me = os.geteuid()
    typed = os.environ.get("SUDO_UID", "")
    return {0, me, *([int(typed)] if me == 0 and typed.isdecimal() else [])}
