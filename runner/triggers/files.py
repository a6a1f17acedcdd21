"""Find the files that match a watch, and tell whether they have stopped growing. Read-only."""

from __future__ import annotations

import glob
import hashlib
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from runner._dataclass import dataclass
from runner.host.users import NoHome, expand_home
from runner.model.watch import Watch

MOST_FILES = 10_000
"""The maximum number of files of one job that are checked; others wait until some of these are gone."""

CONFIRM_SECONDS = 1.0
"""Seconds that every file is observed: the clock of a network file system may differ from this host's."""


class Version(NamedTuple):
    """The properties of a file that change when it is written. ``mtime`` is in ns."""

    inode: int
    mtime: int
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """A file that matches a watch.

    ``name``: its path as the watch writes it, relative to the project if the watch is. ``changed_at``: the time of its
    last change by its file system (Unix seconds).
    """

    name: str
    path: str
    version: Version
    changed_at: float

    @property
    def key(self) -> str:
        """Return the idempotency key for the run of this version."""
        identity = f"{self.name}\0{self.version.inode}\0{self.version.mtime}\0{self.version.size}"
        return "watch:" + hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class WatchFault(Exception):
    """The files of a watch cannot be checked."""


def find_files(watch: Watch, project: Path) -> tuple[list[Found], bool]:
    """Return the regular files that match a watch, oldest change first, and whether there are more.

    Raises:
        WatchFault: the path begins with a home folder that does not exist.
    """
    try:
        pattern = str(expand_home(Path(watch.path)))
    except NoHome as error:
        raise WatchFault(str(error)) from None
    # Not Path.glob: with ** it does not follow links, and it finds names that begin with a dot.
    names = glob.iglob(pattern, root_dir=project, recursive=True)  # noqa: PTH207
    found = list(islice(_regular(names, project), MOST_FILES + 1))
    order = sorted(found[:MOST_FILES], key=lambda file: (file.version.mtime, file.name))
    return order, len(found) > MOST_FILES


def _regular(names: Iterator[str], project: Path) -> Iterator[Found]:
    for name in names:
        path = project / name
        try:
            status = path.stat()
        except OSError:
            continue  # it is gone, or a dangling link
        if stat.S_ISREG(status.st_mode):
            version = Version(status.st_ino, status.st_mtime_ns, status.st_size)
            yield Found(name, str(path), version, max(status.st_mtime, status.st_ctime))


def folder_of(watch: Watch, project: Path) -> Path:
    """Return the folder that contains the first path component with a wildcard, or the file.

    Raises:
        NoHome: the path begins with a home folder that does not exist.
    """
    parts = (project / expand_home(Path(watch.path))).parts
    plain = parts[:-1]
    first = next((number for number, part in enumerate(plain) if glob.has_magic(part)), len(plain))
    return Path(*plain[:first])


def seconds_left(settle: float, unchanged: float, changed_at: float, now: float) -> float:
    """Return the seconds until a file counts as settled if it does not change; 0 or less if it is settled.

    Args:
        settle: the time without a change that is required.
        unchanged: the time without a change that this process has observed.
        changed_at: the time of its last change by its file system.
        now: the time by this host's clock (Unix seconds).
    """
    # Either this process has observed it long enough, or its own times say so after a short observation.
    observed = settle - unchanged
    recorded = max(settle - (now - changed_at), min(settle, CONFIRM_SECONDS) - unchanged)
    return min(observed, recorded)
