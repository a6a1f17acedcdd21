"""Holds processes to an amount of memory by the kernel: with cgroups of version 2, where this process may make some.

A service of systemd may with ``Delegate=memory``. Below its own cgroup, ``worker`` then holds this process and what it
starts, and ``taker-PID`` a process that performs runs, once it has performed one that has a limit. The kernel kills all
of that cgroup (``memory.oom.group``) when it needs more.
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
"""Attributes by which systemd marks a cgroup that belongs to its service."""


class MemoryCgroups:
    """The cgroups that this worker has made. Copied to its children when they are forked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def delegated(cls, root: Path = _ROOT) -> MemoryCgroups | None:
        """Move this process to a cgroup of its own beside those of runs; return None if it may not make any.

        Call it before anything is started: a cgroup in which others are is left alone.
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
        """Let this process, and all that it starts in the block, need no more than ``limit`` bytes there.

        Raises:
            OSError: the kernel does not take the limit.
        """
        own = self._of(os.getpid())
        if not own.exists():
            own.mkdir()
            _write(own / "memory.oom.group", 1)
            with contextlib.suppress(OSError):
                # Without it the kernel would rather swap, where the host has any.
                _write(own / "memory.swap.max", 0)
            _write(own / "cgroup.procs", os.getpid())
        _write(own / "memory.max", limit)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _write(own / "memory.max", "max")

    def exceeded(self, pid: int) -> int | None:
        """Return the peak in bytes of a process that the kernel has killed for its limit; None for another death."""
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
        """The file with the counters of the service as a whole."""
        return self._folder / "memory.events"

    def remove(self, pid: int) -> None:
        """Remove the cgroup of a process that is dead, with all that it had started."""
        with contextlib.suppress(OSError):
            self._of(pid).rmdir()

    def clear(self) -> None:
        """Remove the cgroups of processes that are dead."""
        for each in self._folder.glob("taker-*"):
            with contextlib.suppress(OSError):
                each.rmdir()

    def _of(self, pid: int) -> Path:
        return self._folder / f"taker-{pid}"


@contextmanager
def held_to(cgroups: MemoryCgroups | None, limit: int) -> Iterator[None]:
    """Hold this process to ``limit`` bytes in the block, where that can be done."""
    with contextlib.ExitStack() as stack:
        if cgroups is not None:
            try:
                stack.enter_context(cgroups.holding(limit))
            except OSError as error:
                log.warning("the kernel does not take a limit of memory, the worker watches it alone: %s", error)
        yield


def _own_folder(root: Path) -> Path | None:
    mounted = root / "sys/fs/cgroup"
    if not (mounted / "cgroup.controllers").exists():
        return None  # version 1, or none
    path = next((path for controllers, path in own_cgroups(root) if controllers == ""), None)
    if path is None:
        return None
    folder = mounted / path
    # A worker that has started itself anew is there already.
    return folder.parent if folder.name == _LEAF else folder


def _is_ours(folder: Path) -> bool:
    """Whether systemd has handed a cgroup over to this process alone.

    That of a container is left alone: programs that are started in it from outside belong in its root.
    """
    try:
        if "memory" not in (folder / "cgroup.controllers").read_text().split() or not (folder / "memory.max").exists():
            return False  # without the second it is the root of the host
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
    """Whether this user owns a cgroup, and not the one above, as in a service with ``User=`` and ``Delegate=``."""
    user = os.geteuid()
    return user != 0 and folder.stat().st_uid == user and folder.parent.stat().st_uid != user


def _write(file: Path, value: int | str) -> None:
    file.write_text(str(value))
