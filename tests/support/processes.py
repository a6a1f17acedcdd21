"""Find the processes of tests in /proc, and end them.

All processes of a test inherit the environment variable ``RUNNER_TEST_SESSION``. A server that clears its environment
is recognized by its working folder instead, which is below the folder of this test run.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARKER = "RUNNER_TEST_SESSION"
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process at the time of reading."""

    pid: int
    session: int
    command: str
    folder: str
    environment: bytes

    def __str__(self) -> str:
        return f"{self.pid} {self.command or '(no command)'} in {self.folder or '?'}"


def processes() -> Iterator[Process]:
    """Yield every live, readable process of this user; none if there is no /proc."""
    if not (PROC / "self" / "stat").exists():
        return
    for entry in PROC.iterdir():
        with suppress(OSError, ValueError, IndexError):
            if (session := _session_of(entry)) is not None:
                yield Process(
                    pid=int(entry.name),
                    session=session,
                    command=(entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip(),
                    folder=str((entry / "cwd").readlink()),
                    environment=(entry / "environ").read_bytes(),
                )


def _session_of(entry: Path) -> int | None:
    """Return the session of a process, or None if there is no such process."""
    if not entry.name.isdecimal():
        return None
    fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[3])


def is_alive(pid: int) -> bool:
    """Return whether a process runs. An unreaped zombie does not."""
    try:
        os.kill(pid, 0)
        return not (PROC / "self" / "stat").exists() or ") Z " not in (PROC / str(pid) / "stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def is_dead(pid: int) -> bool:
    """Return whether a process is gone or a zombie."""
    return not is_alive(pid)


def marked(marker: str, folder: Path | None = None) -> list[Process]:
    """Return the processes started by tests: those with the marker, or with a working folder below ``folder``."""
    wanted = f"{MARKER}={marker}".encode()
    below = f"{folder}/" if folder else "\0"
    return [
        process
        for process in processes()
        if process.pid != os.getpid()
        # The supervisor that guards the process groups of this process ends with it.
        and not process.command.endswith(f"/runner/process/supervisor.py {os.getpid()}")
        and (wanted in process.environment.split(b"\0") or f"{process.folder}/".startswith(below))
    ]


def in_session(session: int) -> list[int]:
    """Return the ids of the live processes of a session (setsid)."""
    found: list[int] = []
    for entry in PROC.iterdir() if (PROC / "self" / "stat").exists() else ():
        # Read only one file: this is called at the end of each program that a test has started.
        with suppress(OSError, ValueError, IndexError):
            if _session_of(entry) == session:
                found.append(int(entry.name))
    return found


def end_session(session: int, grace: float = 0.0) -> list[int]:
    """Kill the remaining processes of a session after ``grace`` seconds; return the killed ones."""
    end = time.monotonic() + grace
    while (left := in_session(session)) and time.monotonic() < end:
        time.sleep(0.02)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def wait_for_none(marker: str, folder: Path | None, grace: float) -> list[Process]:
    """Return the processes of tests that still exist after ``grace`` seconds."""
    end = time.monotonic() + grace
    while (left := marked(marker, folder)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def templates_of(worker: int) -> list[int]:
    """Return the process from which a worker's takers are forked, if it exists (Linux only)."""
    return [pid for pid in children_of(worker) if "/runner/process/supervisor.py" not in _command(pid)]


def takers_of(worker: int) -> list[int]:
    """Return the processes of a worker's takers: the children of its template, which is its child (Linux only)."""
    return [taker for template in templates_of(worker) for taker in children_of(template)]


def children_of(pid: int) -> list[int]:
    """Return the children of a process, created by any of its threads (Linux only)."""
    found: list[int] = []
    for task in (PROC / str(pid) / "task").glob("*"):
        with suppress(OSError):
            found += [int(part) for part in (task / "children").read_text().split()]
    return found


def _command(pid: int) -> str:
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
