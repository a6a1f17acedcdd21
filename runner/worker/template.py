"""The template: the process from which takers are forked. It has no threads and has imported the code of the jobs once.

It forks takers on request of the worker's parent. When a taker dies, it kills the rest of its process group and reports
the death. The template ends with the parent, and the takers end with the template.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from celery import platforms
from celery.utils.log import get_logger

from runner._dataclass import dataclass
from runner.app.celery_types import JsonObject
from runner.attempt.loggers import between_lines

log = get_logger(__name__)

READY_SECONDS = 10.0
"""Seconds that a template may take to start."""

_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
"""Signals for other processes that also reach the template, such as those of a terminal."""


@dataclass(frozen=True, slots=True)
class Death:
    """The death of a taker."""

    index: int
    pid: int
    status: int
    """The status from ``waitpid``."""
    max_rss: int
    """The maximum memory of the process or of one that it has waited for (bytes)."""
    oom_killed: bool = False
    """Whether the kernel's OOM killer ended it."""

    @property
    def signal_name(self) -> str | None:
        """Return the name of the signal that ended it."""
        if not os.WIFSIGNALED(self.status):
            return None
        number = os.WTERMSIG(self.status)
        try:
            return signal.Signals(number).name
        except ValueError:
            return str(number)

    @property
    def exit_code(self) -> int | None:
        """Return the exit code."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    def __str__(self) -> str:
        name = self.signal_name
        if name is None:
            return f"exit code {self.exit_code}"
        message = f"signal {os.WTERMSIG(self.status)}, {name}"
        return f"{message}, sent by the kernel's OOM killer" if self.oom_killed else message


@dataclass(frozen=True, slots=True)
class Born:
    """A taker was forked."""

    index: int
    pid: int


@dataclass(frozen=True, slots=True)
class Failed:
    """No taker could be forked."""

    index: int


@dataclass(frozen=True, slots=True)
class Gone:
    """The template has ended."""


def _read(message: JsonObject) -> Born | Death | Failed:
    if "born" in message:
        return Born(*message["born"])
    if "failed" in message:
        return Failed(message["failed"])
    return Death(*message["dead"])


Fork = Callable[[int, socket.socket], NoReturn]
"""Runs a taker in the slot with this index, with its end of a socket pair."""


class Template:
    """The parent's side of a template.

    Args:
        be_taker: runs a taker in a fork; it never returns.
        take_over: applies changed jobs in the template.
    """

    def __init__(self, be_taker: Fork, take_over: Callable[[JsonObject], None]) -> None:
        self._be_taker, self._take_over = be_taker, take_over
        self._end: socket.socket | None = None
        self._rest = b""
        self._mutex = threading.Lock()
        """Serializes messages to the template from several threads."""
        self.pid = 0

    def start(self) -> None:
        """Fork the template.

        Raises:
            OSError: it cannot be forked, or did not start in time.
        """
        with self._mutex:
            self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        parent = os.getpid()
        # The current objects stay: a garbage collection over them would copy their memory into each process.
        gc.collect()
        gc.freeze()
        try:
            with between_lines():
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(Exception):
                        stream.flush()
                pid = os.fork()
                if pid == 0:
                    ours.close()
                    _Loop(theirs, parent, self._be_taker, self._take_over).run()
        except OSError:
            ours.close()
            theirs.close()
            raise
        theirs.close()
        self.pid, self._end, self._rest = pid, ours, b""
        ours.settimeout(READY_SECONDS)
        try:
            if ours.recv(1) != b"\n":
                raise OSError("the process from which takers are forked did not start")
        except OSError:
            self.close()
            raise
        ours.settimeout(None)

    def fileno(self) -> int:
        """Return the descriptor to listen to; -1 without a template."""
        return -1 if self._end is None else self._end.fileno()

    def fork(self, index: int, channel: socket.socket) -> None:
        """Request a taker; ``channel`` is its end of the socket pair.

        Raises:
            OSError: the template is gone.
        """
        with self._mutex:
            if self._end is None:
                raise BrokenPipeError("there is no template")
            socket.send_fds(self._end, [json.dumps({"fork": index}).encode() + b"\n"], [channel.fileno()])

    def reload(self, jobs: JsonObject) -> None:
        """Pass changed jobs to the template.

        Raises:
            OSError: the template is gone.
        """
        with self._mutex:
            if self._end is None:
                raise BrokenPipeError("there is no template")
            self._end.sendall(json.dumps({"jobs": jobs}).encode() + b"\n")

    def hear(self) -> list[Born | Death | Failed | Gone]:
        """Return the messages of the template; ``Gone`` once it has ended."""
        if self._end is None:
            return []
        try:
            data = self._end.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.close()
            return [Gone()]
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_read(json.loads(line)) for line in lines]

    def close(self) -> None:
        """End the template if it is still running."""
        if self._end is not None:
            self._end.close()
            self._end = None
        if self.pid:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0


class _Loop:
    """The template itself."""

    def __init__(
        self, end: socket.socket, parent: int, be_taker: Fork, take_over: Callable[[JsonObject], None]
    ) -> None:
        self._end, self._parent = end, parent
        self._be_taker, self._take_over = be_taker, take_over
        self._rest = b""
        self._channels: deque[socket.socket] = deque()
        self._places: dict[int, int] = {}
        self._awake, self._wake = os.pipe()

    def run(self) -> NoReturn:
        status = 1
        try:
            self._begin()
            while self._turn():
                pass
            status = 0
        except BaseException:
            log.exception("the process that takers are forked from has failed")
        finally:
            os._exit(status)

    def _begin(self) -> None:
        os.setpgid(0, 0)
        platforms.set_pdeathsig("SIGKILL")
        if os.getppid() != self._parent:
            os._exit(0)
        for signum in _DEAF_TO:
            signal.signal(signum, signal.SIG_IGN)
        for descriptor in (self._awake, self._wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._end.sendall(b"\n")

    def _turn(self) -> bool:
        end = self._end.fileno()
        ready, _, _ = select.select([end, self._awake], [], [])
        if self._awake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._awake, 4096)
        self._reap()
        return end not in ready or self._listen()

    def _listen(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._end, 65536, 64)
        self._channels.extend(socket.socket(fileno=descriptor) for descriptor in descriptors)
        if not data:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "jobs" in message:
                self._take_over(message["jobs"])
            else:
                self._fork(message["fork"])
        return True

    def _fork(self, index: int) -> None:
        channel = self._channels.popleft()
        template = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            # Without memory or process ids, the existing takers go on.
            log.error("no taker can be forked: %s", error)
            channel.close()
            self._send(failed=index)
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for signum in (*_DEAF_TO, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_DFL)
            for descriptor in (self._awake, self._wake):
                os.close(descriptor)
            self._end.close()
            for other in self._channels:
                other.close()
            platforms.set_pdeathsig("SIGKILL")
            if os.getppid() != template:
                os._exit(0)
            self._be_taker(index, channel)
        channel.close()
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the taker does so, too; the first one counts
        self._places[pid] = index
        self._send(born=[index, pid])

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            # Before reaping it, because its id may be reused afterwards.
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            scale = 1 if sys.platform == "darwin" else 1024
            if pid in self._places:
                self._send(dead=[self._places.pop(pid), pid, status, usage.ru_maxrss * scale])

    def _send(self, **message: object) -> None:
        with contextlib.suppress(OSError):
            self._end.sendall(json.dumps(message).encode() + b"\n")
