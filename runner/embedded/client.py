"""A minimal Redis client for starting and stopping a server.

redis-py would work, too, but importing it takes longer than the rest of a command.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ANSWER_TIMEOUT = 5.0
"""Timeout of an answer (seconds)."""

_DARWIN_LOCAL_PEERPID = 2


class NoAnswer(Exception):
    """The listening process does not answer, or is not a Redis server."""


class Busy(NoAnswer):
    """The server is running but still loading its data."""


class Client:
    """A connection to a server's Unix socket."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(ANSWER_TIMEOUT)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def ping(self) -> None:
        """Return once the server answers.

        Raises:
            Busy, NoAnswer, OSError: it does not answer.
        """
        self._ask("PING")

    def info(self) -> dict[str, str]:
        """Return the fields of ``INFO server``."""
        lines = self._ask("INFO", "server").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))

    def shutdown(self) -> None:
        """Ask the server to save its data and exit; return when it has closed the connection or the time has passed."""
        with contextlib.suppress(OSError, NoAnswer):
            self._ask("SHUTDOWN")

    def peer_pid(self) -> int | None:
        """Return the id of the listening process from the kernel; None where the kernel does not provide it."""
        try:
            if sys.platform == "linux":
                raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                pid: int = struct.unpack("3i", raw)[0]
            else:
                pid = self._socket.getsockopt(0, _DARWIN_LOCAL_PEERPID)
        except OSError:
            return None
        return pid or None

    def _ask(self, *words: str) -> str:
        sent = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        self._socket.sendall(sent.encode("ascii"))
        line = self._file.readline().decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("+"):
            return line[1:]
        if line.startswith("$") and line[1:].isdecimal():
            size = int(line[1:])
            return self._file.read(size + 2)[:size].decode("utf-8", "replace")
        if line.startswith("-LOADING"):
            raise Busy(line[1:])
        raise NoAnswer(line or "the server hung up")


def pid_alive(pid: int) -> bool:
    """Return whether a process is running. A zombie is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        state, threads = fields[0], int(fields[17])
    except (OSError, IndexError, ValueError):
        return not Path("/proc/self/stat").exists()
    # Its sockets and locks stay open while other threads are ending.
    return state not in ("Z", "X") or threads > 1
