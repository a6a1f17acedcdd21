"""Read ``server.json``, and check whether it is up to date."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from runner._dataclass import dataclass
from runner.host.state import read_own

_CURRENT = "server.json"
_LAST = "last-server.json"
_LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The content of ``server.json`` about a running server. ``started_at`` is UTC, RFC 3339."""

    pid: int
    socket: str
    version: str
    program: str
    started_at: str

    @property
    def url(self) -> str:
        """Return the server's URL in redis-py's form."""
        return f"unix://{self.socket}"


def read_running(folder: Path) -> ServerInfo | None:
    """Return the server of ``folder`` if it is ready and belongs to this user.

    Every command calls this, so it only reads a small file and connects once.
    """
    try:
        server = ServerInfo(**json.loads(read_own(folder / _CURRENT, _LONGEST)))
        if Path(server.socket).stat().st_uid != os.geteuid():
            return None
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(server.socket)
    except (OSError, ValueError, TypeError):
        # Missing, dead, or written by another version; the code that starts the server finds out.
        return None
    return server


def write(folder: Path, server: ServerInfo) -> None:
    """Write the file atomically, which tells all commands that the server is ready."""
    new = folder / f".{_CURRENT}.new"
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(server), indent=2) + "\n")
    new.replace(folder / _CURRENT)


def retire(folder: Path) -> None:
    """Rename ``server.json``, so that a server that is still loading its data does not seem ready."""
    with suppress(FileNotFoundError):
        (folder / _CURRENT).replace(folder / _LAST)


def last(folder: Path) -> dict[str, str]:
    """Return the description of the server that last wrote the data."""
    try:
        found = json.loads(read_own(folder / _LAST, _LONGEST))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
