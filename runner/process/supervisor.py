"""The supervisor of a process: kills the process groups that the process started once the process is gone.

Run as a program of its own (``python -I -S supervisor.py PARENT``) by ``runner.process.group``. It
is a new interpreter and not a bare fork, so it shares neither the parent's memory, nor its open
files, nor its command line, and ``pkill -f "runner worker"`` does not hit both.

It imports only modules of the standard library that load quickly: a run may wait for its start.

It reads ``+PGID`` and ``-PGID`` lines from standard input. The end of the input does not prove that
the parent is gone, because children that the parent forked without exec hold the other end of the
pipe, too. So it also watches for the death of the parent itself.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

PARENT_CHECK_SECONDS = 0.25
"""Seconds between checks of the parent where the kernel has no pidfd (macOS, Linux before 5.3)."""

LINGER_SECONDS = 2.0
"""Seconds to keep reading lines after the parent's death: a child that it forked may be about to send its own."""

DEATH_SECONDS = 10.0
"""Seconds to wait for the end of a killed group; a process stuck in the kernel can take forever."""

_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Groups:
    """The groups that are registered by the lines read so far, oldest first."""

    def __init__(self) -> None:
        self._pgids: dict[int, None] = {}
        self._rest = b""
        self._killed: list[int] = []

    def feed(self, data: bytes) -> None:
        """Apply the complete lines of ``data``; other content is ignored."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            sign, digits = line[:1], line[1:]
            if not digits.isdigit() or int(digits) <= 1:
                continue
            if sign == b"+":
                self._pgids[int(digits)] = None
            elif sign == b"-":
                self._pgids.pop(int(digits), None)

    def kill(self) -> None:
        """Send SIGKILL to every group and remove it, newest first.

        The parent registers its own group first, so the groups that it started die before its own.
        """
        while self._pgids:
            pgid, _ = self._pgids.popitem()
            try:
                os.killpg(pgid, signal.SIGKILL)
            except OSError:
                # The group is empty already, or (macOS) only zombies are left.
                continue
            self._killed.append(pgid)

    def wait(self, deadline: float) -> None:
        """Wait until all killed processes are dead, so that the end of the supervisor means the end of the groups."""
        while self._killed and time.monotonic() < deadline:
            self._killed = [pgid for pgid in self._killed if group_alive(pgid)]
            time.sleep(0.005 if self._killed else 0)


def group_alive(pgid: int) -> bool:
    """Return whether process group ``pgid`` has a member that is not a zombie."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS reports this for a group of zombies; elsewhere the group has a process of another user.
        return sys.platform != "darwin"
    return _member_lives(pgid) if sys.platform == "linux" else True


def _member_lives(pgid: int) -> bool:
    """Return whether a member lives; a signal on Linux does not tell zombies apart. Checks the leader first."""
    if _lives(str(pgid), pgid):
        return True
    try:
        return any(_lives(name, pgid) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    except OSError:
        return True


def _lives(pid: str, pgid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            stat = file.read()
        # The name is in parentheses, and may contain spaces and parentheses.
        state, _parent, group = stat[stat.rindex(b")") + 2 :].split(maxsplit=3)[:3]
        if int(group) != pgid or state in (b"X", b"x"):
            return False
        # The main thread may have ended while other threads go on.
        return state != b"Z" or len(os.listdir(f"/proc/{pid}/task")) > 1  # noqa: PTH208
    except OSError:
        return False


def supervise(parent: int) -> None:
    """Read standard input until process ``parent`` ends, then kill the registered groups."""
    for signum in _IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    os.closerange(3, _highest_descriptor() + 1)
    os.chdir("/")
    parent_gone = _watch(parent)
    os.write(1, b"ready\n")
    # From here on, keep no descriptor of the parent open: neither its terminal nor a pipe of its log.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)

    groups = Groups()
    open_end = _follow(groups, parent, parent_gone)
    groups.kill()
    deadline = time.monotonic() + LINGER_SECONDS
    while open_end and (left := deadline - time.monotonic()) > 0:
        if select.select([0], [], [], left)[0]:
            open_end = _read(groups)
            groups.kill()
    groups.wait(time.monotonic() + DEATH_SECONDS)


def _follow(groups: Groups, parent: int, parent_gone: int | None) -> bool:
    """Read until the parent is gone; return whether the input is still open."""
    poller = select.poll()
    poller.register(0, select.POLLIN)
    if parent_gone is not None:
        poller.register(parent_gone, select.POLLIN)
    open_end = True
    while os.getppid() == parent:
        ready = [fd for fd, _ in poller.poll(None if parent_gone is not None else PARENT_CHECK_SECONDS * 1000)]
        if 0 in ready and not _read(groups):
            if parent_gone is None:
                return False
            # The parent has closed all of its descriptors, as daemons do. It lives on.
            poller.unregister(0)
            open_end = False
        if parent_gone in ready:
            break
    return open_end


def _read(groups: Groups) -> bool:
    data = os.read(0, 65536)
    groups.feed(data)
    return bool(data)


def _watch(parent: int) -> int | None:
    """Return a descriptor that becomes readable when ``parent`` ends; None where the kernel has no pidfd."""
    try:
        return os.pidfd_open(parent)
    except (AttributeError, OSError):
        return None


def _highest_descriptor() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return max(int(name) for name in os.listdir(folder))  # noqa: PTH208 - pathlib costs start-up time
        except (OSError, ValueError):
            continue
    return min(os.sysconf("SC_OPEN_MAX"), 65536)


if __name__ == "__main__":
    supervise(int(sys.argv[1]))
    os._exit(0)
