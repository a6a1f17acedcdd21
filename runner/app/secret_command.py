"""Read secrets from the standard output of commands: ``exec:op read op://vault/db``."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.process import group as process_group

COMMAND_SECONDS = 30.0
"""The timeout of a command (seconds); its process group is killed after that."""

LARGEST = 64 * 1024
"""The maximum size of a command's standard output (bytes)."""

STDERR_BYTES = 2048
"""The size of the end of its standard error in a message (bytes)."""

POLL_SECONDS = 0.02


class CommandFailed(Exception):
    """A command did not produce a secret. ``output``: its standard output, to be masked in the message."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def command_fault(command: str, project: Path, environ: Mapping[str, str]) -> str | None:
    """Return the reason why a command cannot be started on this host, or None, without starting it."""
    program = shlex.split(command)[0]
    executable = str(project / program) if "/" in program else program
    if shutil.which(executable, path=environ.get("PATH", os.defpath)) is None:
        return f"the command {program} is not found on this host"
    return None


def read_from_command(command: str, project: Path, environ: Mapping[str, str], seconds: float = COMMAND_SECONDS) -> str:
    """Run a command without a shell, in the project, and return its output without the line end.

    Its process group ends with the command and with this process.

    Raises:
        CommandFailed: it cannot be started, fails, takes too long, or writes nothing, NUL, or more than 64 KiB.
        BaseException: an exception of a signal handler, once the group is gone.
    """
    argv = shlex.split(command)
    program = argv[0]
    if "/" in program:
        argv[0] = str(project / program)
    try:
        running = _Command(argv, project, environ)
    except OSError as error:
        reason = "is not found" if isinstance(error, FileNotFoundError) else f"cannot be started: {error.strerror}"
        raise CommandFailed(f"the command {program} {reason}") from None
    status = running.follow(seconds)
    output, complaint = running.texts()
    shown = f"; its standard error ends with: {complaint}" if complaint else ""
    if running.overfull:
        raise CommandFailed(f"the command {program} writes more than {LARGEST // 1024} KiB{shown}", output)
    if status is None:
        raise CommandFailed(f"the command {program} took longer than {seconds:g} s, and was ended{shown}", output)
    if status:
        how = f"exit code {status}" if status > 0 else f"signal {-status}"
        raise CommandFailed(f"the command {program} ended with {how}{shown}", output)
    if not output:
        raise CommandFailed(f"the command {program} wrote nothing to standard output{shown}")
    if "\0" in output:
        raise CommandFailed(f"the command {program} wrote NUL, which no environment variable can hold{shown}", output)
    return output


class _Command:
    """A command in its own session and process group."""

    def __init__(self, argv: Sequence[str], project: Path, environ: Mapping[str, str]) -> None:
        self.overfull = False
        self._output, self._errors = bytearray(), bytearray()
        with process_group.uninterrupted() as mask, process_group.entering() as enter:
            self._process = subprocess.Popen(
                argv,
                cwd=project,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=process_group.before_exec(enter, mask),
            )
        self._selector = selectors.DefaultSelector()
        for stream, held in ((self._process.stdout, self._output), (self._process.stderr, self._errors)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, held)

    def follow(self, seconds: float) -> int | None:
        """Return the exit status, negative for a signal; None if the command was ended after ``seconds``."""
        status = None
        try:
            deadline = time.monotonic() + seconds
            # Do not wait for the end of the streams: a daemon of the command may keep them open.
            while (status := self._status()) is None and not self.overfull and time.monotonic() < deadline:
                self._read(POLL_SECONDS)
            while not self.overfull and self._read(0):
                pass
        finally:
            self._end()
        return status

    def texts(self) -> tuple[str, str]:
        """Return the output and the standard error, without trailing line ends."""
        output = bytes(self._output[:LARGEST]).decode("utf-8", "surrogateescape").rstrip("\r\n")
        complaint = bytes(self._errors).decode("utf-8", "replace").strip()
        return output, complaint

    def _read(self, patience: float) -> bool:
        some = False
        if not self._selector.get_map():
            time.sleep(patience)
        for key, _ in self._selector.select(patience):
            try:
                data = os.read(key.fd, 65536)
            except BlockingIOError:
                continue
            if not data:
                self._selector.unregister(key.fileobj)
                continue
            some = True
            key.data.extend(data)
        del self._errors[:-STDERR_BYTES]
        self.overfull = len(self._output) > LARGEST
        return some

    def _status(self) -> int | None:
        """Return the exit status once the command has ended. It is not reaped, so that its id is not reused."""
        if not hasattr(os, "waitid"):
            return self._process.poll()
        try:
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            raise CommandFailed("the exit status of the command was lost: other code waits for all children") from None
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _end(self) -> None:
        pgid = self._process.pid
        process_group.signal_group(pgid, signal.SIGKILL)
        process_group.release(pgid)
        with contextlib.suppress(ChildProcessError):
            self._process.wait()
        self._selector.close()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
