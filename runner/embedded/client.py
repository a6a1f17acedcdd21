"""The few words of Redis' protocol that starting and stopping a server takes, and who is at the other end.

redis-py would do, but costs more to import than all the rest of a command.
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
"""Seconds to wait for an answer."""

_DARWIN_LOCAL_PEERPID = 2


class NoAnswer(Exception):
    """The process that listens there does not answer, or is not a Redis server."""


class Busy(NoAnswer):
    """The server is there, and still loads its data."""


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
            Busy, NoAnswer, OSError: it does not.
        """
        self._ask("PING")

    def info(self) -> dict[str, str]:
        """Return the fields of ``INFO server``."""
        lines = self._ask("INFO", "server").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))

    def shutdown(self) -> None:
        """Ask the server to write what it has and end; return when it hung up, or did not within the time."""
        with contextlib.suppress(OSError, NoAnswer):
            self._ask("SHUTDOWN")

    def peer_pid(self) -> int | None:
        """Return the process that listens at the other end, as the kernel says; None where it does not say."""
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
    """Return whether a process runs. One that ended and that nobody waits for (a zombie) does not."""
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
    # While other threads of it still end, its sockets and locks are open.
    return state not in ("Z", "X") or threads > 1
