"""Run one command, from its start to the end of its whole process group."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from runner.host.places import temporary_folder
from runner.process import group as process_group
from runner.tasks.output import Output

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
"""The polling interval for the command without pidfd support in the kernel, and for a process group that is ending."""

RENEW_SECONDS = 1.0
"""The interval at which the supervisor is checked."""

DRAIN_SECONDS = 1.0
"""How long to read output that a process outside of the group still writes after the command has ended."""


class ExitStatusLostError(Exception):
    """The command has ended, but other code in this process has reaped its exit status."""

    def __str__(self) -> str:
        return "the exit status was lost: other code of the worker waits for all children, or ignores SIGCHLD"


class Command:
    """A command in its own session and process group, which the supervisor guards.

    The group ends with the command: its background processes get SIGTERM, and SIGKILL after ``grace`` seconds. It
    also ends when an exception leaves :meth:`follow` (a soft timeout, a request to terminate), and when this process
    vanishes.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        stdin: str | None,
        grace: float,
        output: Output,
    ) -> None:
        self._argv = argv
        self._cwd = cwd
        self._env = env
        self._stdin = stdin
        self._grace = grace
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._status: int | None = None
        self._selector = selectors.DefaultSelector()
        self._descriptors: list[int] = []
        self._next_renewal = 0.0

    def run(self) -> int:
        """Run the command to its end; return the exit status, negative for the signal that ended it.

        Raises:
            OSError: the command cannot be started.
            ExitStatusLostError: the command has ended, but its exit status is unknown.
            Any exception of a signal handler in the meantime, after the group has ended.
        """
        try:
            with process_group.uninterrupted() as mask:
                self._start(mask)
            self._follow()
            self._end_group()
            return self._reap()
        except BaseException:
            self._abort()
            raise
        finally:
            self._selector.close()
            for descriptor in self._descriptors:
                os.close(descriptor)
            self._output.end()

    def _start(self, mask: set[int | signal.Signals]) -> None:
        reading, writing = os.pipe()
        self._descriptors.append(reading)
        os.set_blocking(reading, False)
        try:
            with _input(self._stdin) as source, process_group.entering() as enter:
                self._process = subprocess.Popen(
                    self._argv,
                    cwd=self._cwd,
                    env=self._env,
                    stdin=source,
                    stdout=writing,
                    stderr=writing,
                    start_new_session=True,
                    preexec_fn=process_group.before_exec(enter, mask),
                )
        finally:
            os.close(writing)
        self._selector.register(reading, selectors.EVENT_READ, "output")
        try:
            pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            return
        self._descriptors.append(pidfd)
        self._selector.register(pidfd, selectors.EVENT_READ, "end")

    def _follow(self) -> None:
        """Pass the output on until the command has ended; other processes of its group may still run."""
        wait = RENEW_SECONDS if len(self._descriptors) > 1 else POLL_SECONDS
        while not self._ended():
            self._pump(wait)
            if time.monotonic() >= self._next_renewal:
                self._next_renewal = time.monotonic() + RENEW_SECONDS
                process_group.renew()

    def _pump(self, seconds: float) -> bool:
        """Wait for output and pass it on; return whether there was any."""
        taken = False
        for key, _ in self._selector.select(seconds):
            if key.data != "output":
                continue
            try:
                data = os.read(key.fd, 65536)
            except BlockingIOError:
                continue
            if data:
                self._output.feed(data)
                taken = True
            else:
                self._selector.unregister(key.fd)
        return taken

    def _ended(self) -> bool:
        """Return whether the command itself has ended, and store its exit status.

        If the system can tell without reaping, the command is not reaped yet: an unreaped leader keeps the group id
        from being reused.
        """
        if self._status is not None:
            return True
        assert self._process is not None
        try:
            if hasattr(os, "waitid"):
                ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is not None:
                    self._status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            else:
                pid, status = os.waitpid(self._process.pid, os.WNOHANG)
                if pid:
                    self._status = self._process.returncode = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            # `Popen` would report success.
            raise ExitStatusLostError from None
        return self._status is not None

    def _end_group(self) -> None:
        """End the remaining processes of the group, and pass their output on in the meantime."""
        assert self._process is not None
        pgid = self._process.pid
        for signum, patience in (
            (signal.SIGTERM, self._grace),
            (signal.SIGKILL, process_group.KILL_PATIENCE_SECONDS),
        ):
            if not process_group.group_alive(pgid):
                break
            process_group.signal_group(pgid, signum)
            deadline = time.monotonic() + patience
            while process_group.group_alive(pgid) and time.monotonic() < deadline:
                self._doze()
        else:
            if process_group.group_alive(pgid):
                # The group is still guarded: the supervisor tries again when this process ends.
                logger.error("process group %d of %s outlives SIGKILL", pgid, self._argv[0])
                return
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._pump(0) and time.monotonic() < deadline:
            pass
        process_group.release(pgid)

    def _doze(self) -> None:
        # The pidfd of the ended command stays readable, which would make this a busy loop.
        if len(self._descriptors) > 1 and self._descriptors[1] in self._selector.get_map():
            self._selector.unregister(self._descriptors[1])
        self._pump(POLL_SECONDS)

    def _reap(self) -> int:
        assert self._process is not None
        assert self._status is not None
        if self._process.returncode is None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._process.pid, 0)
            self._process.returncode = self._status
        return self._status

    def _abort(self) -> None:
        """End the group after an exception, at once if a second exception follows."""
        if self._process is None:
            return
        try:
            self._end_group()
        except BaseException:
            process_group.signal_group(self._process.pid, signal.SIGKILL)
            process_group.release(self._process.pid)
            raise
        finally:
            self._process.poll()


def _input(text: str | None) -> IO[bytes]:
    """Return a file with the content ``text``: unlike a pipe, it needs no writer."""
    if text is None:
        return Path(os.devnull).open("rb")
    held = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115 - the caller closes it
    held.write(text.encode())
    held.seek(0)
    return held
