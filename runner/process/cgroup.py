"""Let the kernel enforce memory limits, with version 2 cgroups, where this process may create them.

A systemd service may do so with ``Delegate=memory``. Below the cgroup of the service, ``worker`` then contains this
process and its children, and ``taker-PID`` contains a taker that has performed a run with a limit. When such a cgroup
exceeds its limit, the kernel kills all of its processes (``memory.oom.group``).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.process.oom import own_cgroups

log = logging.getLogger(__name__)

_ROOT = Path("/")
_LEAF = "worker"
_DELEGATED = ("user.delegate", "trusted.delegate")
"""The extended attributes by which systemd marks a cgroup as delegated to its service."""


class MemoryCgroups:
    """The cgroups that this worker has created. A forked child gets a copy of this object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def delegated(cls, root: Path = _ROOT) -> MemoryCgroups | None:
        """Move this process to a cgroup of its own, beside those of takers; return None if it may not create cgroups.

        Call it before starting any other process: a cgroup with other processes in it is left alone.
        """
        folder = _own_folder(root)
        if folder is None or not _is_ours(folder):
            return None
        leaf = folder / _LEAF
        try:
            leaf.mkdir(exist_ok=True)
            _write(leaf / "cgroup.procs", os.getpid())
            _write(folder / "cgroup.subtree_control", "+memory")
        except OSError:
            with contextlib.suppress(OSError):
                _write(folder / "cgroup.procs", os.getpid())
            with contextlib.suppress(OSError):
                leaf.rmdir()
            return None
        cgroups = cls(folder)
        cgroups.clear()
        return cgroups

    @contextmanager
    def holding(self, limit: int) -> Iterator[None]:
        """Limit this process, and all processes that it starts in the block, to ``limit`` bytes of memory.

        Raises:
            OSError: the kernel refuses the limit.
        """
        own = self._of(os.getpid())
        if not own.exists():
            own.mkdir()
            _write(own / "memory.oom.group", 1)
            with contextlib.suppress(OSError):
                # Otherwise the kernel would swap first, if the host has swap space.
                _write(own / "memory.swap.max", 0)
            _write(own / "cgroup.procs", os.getpid())
        _write(own / "memory.max", limit)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _write(own / "memory.max", "max")

    def exceeded(self, pid: int) -> int | None:
        """Return the peak memory (bytes) of a process that the kernel killed for exceeding its limit, or None."""
        own = self._of(pid)
        try:
            events = dict(line.split() for line in (own / "memory.events").read_text().splitlines())
            if not int(events["oom"]) or not int(events["oom_kill"]):
                return None
            with contextlib.suppress(FileNotFoundError):  # Linux before 5.19
                return int((own / "memory.peak").read_text())
            return int((own / "memory.max").read_text())
        except (OSError, ValueError, KeyError):
            return None

    def __str__(self) -> str:
        return f"cgroup {self._folder}"

    @property
    def events(self) -> Path:
        """The file with the counters of the whole service."""
        return self._folder / "memory.events"

    def remove(self, pid: int) -> None:
        """Remove the cgroup of a process that is dead together with all of its children."""
        with contextlib.suppress(OSError):
            self._of(pid).rmdir()

    def clear(self) -> None:
        """Remove the cgroups of processes that are dead."""
        for path in self._folder.glob("taker-*"):
            with contextlib.suppress(OSError):
                path.rmdir()

    def _of(self, pid: int) -> Path:
        return self._folder / f"taker-{pid}"


@contextmanager
def held_to(cgroups: MemoryCgroups | None, limit: int) -> Iterator[None]:
    """Limit this process to ``limit`` bytes of memory in the block, where the kernel can do that."""
    with contextlib.ExitStack() as stack:
        if cgroups is not None:
            try:
                stack.enter_context(cgroups.holding(limit))
            except OSError as error:
                log.warning("the kernel refuses a memory limit, so only the worker enforces it: %s", error)
        yield


def _own_folder(root: Path) -> Path | None:
    mounted = root / "sys/fs/cgroup"
    if not (mounted / "cgroup.controllers").exists():
        return None  # version 1, or none
    path = next((path for controllers, path in own_cgroups(root) if controllers == ""), None)
    if path is None:
        return None
    folder = mounted / path
    # A worker that has restarted itself is there already.
    return folder.parent if folder.name == _LEAF else folder


def _is_ours(folder: Path) -> bool:
    """Return whether systemd has delegated a cgroup to this process.

    The cgroup of a container is left alone: programs that are started in it from outside belong in its root.
    """
    try:
        if "memory" not in (folder / "cgroup.controllers").read_text().split() or not (folder / "memory.max").exists():
            return False  # without the second line it is the root of the host
        if not os.access(folder, os.W_OK) or not os.access(folder / "cgroup.subtree_control", os.W_OK):
            return False
        inside = {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        return inside <= {os.getpid()} and (_marked(folder) or _begins_with_us(folder))
    except (OSError, ValueError):
        return False


def _marked(folder: Path) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError, AttributeError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _begins_with_us(folder: Path) -> bool:
    """Return whether this user owns a cgroup but not its parent, as in a service with ``User=`` and ``Delegate=``."""
    user = os.geteuid()
    return user != 0 and folder.stat().st_uid == user and folder.parent.stat().st_uid != user


def _write(file: Path, value: int | str) -> None:
    file.write_text(str(value))
