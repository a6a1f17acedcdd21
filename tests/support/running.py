"""Programs that run beside a test: started in their own session, read continuously, and always ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.command import COMMAND
from tests.support.processes import end_session
from tests.support.zygote import Forked, can_fork, what_is_forked


class Running:
    """A running program. Tests can wait for lines of its output.

    Args:
        command: an argument list.
        cwd: the working folder.
        env: the whole environment; None means that of the test.
        grace: the seconds to end after SIGTERM at the end of the ``with``.
        files: the maximum number of open file descriptors.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        grace: float = 20.0,
        files: int | None = None,
    ) -> None:
        self.command = list(command)
        self.grace = grace
        self._lines: dict[str, list[str]] = {"out": [], "err": []}
        self._news = threading.Condition()
        self.process = self._start(cwd, env, files)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(stream, name), daemon=True)
            for stream, name in ((self.process.stdout, "out"), (self.process.stderr, "err"))
        ]
        for reader in self._readers:
            reader.start()

    def _start(self, cwd: Path, env: Mapping[str, str] | None, files: int | None) -> subprocess.Popen[bytes] | Forked:
        with Path(os.devnull).open("rb") as nothing:
            module, room = what_is_forked(self.command)
            if module and env is not None and can_fork(env):
                args = self.command[len(COMMAND) :]
                return Forked(
                    args, cwd=cwd, env=env, stdin=nothing.fileno(), session=True, room=room, module=module, files=files
                )
            limited = [] if files is None else ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
            return subprocess.Popen(
                [*limited, *self.command],
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=nothing,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )

    def _read(self, stream: IO[bytes], name: str) -> None:
        for line in stream:
            with self._news:
                self._lines[name].append(line.decode("utf-8", "replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        """Return its process id, which is also the id of its session and of its first process group."""
        return self.process.pid

    @property
    def stdout(self) -> str:
        """Return its stdout so far."""
        with self._news:
            return "\n".join(self._lines["out"])

    @property
    def stderr(self) -> str:
        """Return its stderr so far."""
        with self._news:
            return "\n".join(self._lines["err"])

    @property
    def log(self) -> str:
        """Return stderr, where a worker logs."""
        return self.stderr

    def wait_for(self, pattern: str, deadline: float = 30.0, *, stream: str = "err", after: int = 0) -> re.Match[str]:
        """Return the first match of ``pattern`` in a line of stderr (or, with ``stream="out"``, of stdout).

        Args:
            pattern: a regular expression.
            deadline: the maximum wait in seconds.
            stream: ``err`` or ``out``.
            after: the number of lines to skip.
        """
        end = time.monotonic() + deadline
        seen = after
        with self._news:
            while True:
                lines = self._lines[stream]
                for line in lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(lines)
                reader = self._readers[0 if stream == "out" else 1]
                left = end - time.monotonic()
                if left <= 0 or not reader.is_alive():
                    why = f"within {deadline:g} s" if left <= 0 else f"and it ended with {self.process.poll()}"
                    raise AssertionError(f"no line matched {pattern!r} {why}:\n" + "\n".join(lines[-60:]))
                self._news.wait(min(left, 1.0))

    def lines(self, stream: str = "err") -> list[str]:
        """Return the lines so far."""
        with self._news:
            return list(self._lines[stream])

    def signal(self, number: int) -> None:
        """Send a signal to its first process."""
        self.process.send_signal(number)

    def wait(self, deadline: float = 30.0) -> int:
        """Return its exit code (negative: the signal that killed it)."""
        try:
            code = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command} did not end within {deadline:g} s:\n{self.stderr[-6000:]}") from None
        for reader in self._readers:
            reader.join(2.0)
        return code

    def terminate(self, deadline: float | None = None) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(self.grace if deadline is None else deadline)

    def kill(self) -> None:
        """Send SIGKILL to its first process only, like the out-of-memory killer."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(self.grace)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        finally:
            end_session(self.pid, grace=2.0)
            for reader in self._readers:
                reader.join(2.0)
        if kind is not None:
            print(f"--- stderr of {' '.join(self.command)}:\n{self.stderr[-20000:]}")
