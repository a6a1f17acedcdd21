"""The detached worker of ``runner up -d``: at most one per project and host, ensured by a lock.

``.runner/worker.pid`` holds its process id and the start time of that process. The worker keeps the file open and
locked. The lock ends with the process, so a stale file is never mistaken for a worker. A process is signaled only if
both its id and its start time match.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.actions.worker_process import start_worker
from runner.errors import RunnerError, Unavailable
from runner.host.process import has_open, is_same, send, started_at
from runner.host.state import StateFolder, read_own, state_folder
from runner.process.group import kill_group

if TYPE_CHECKING:
    from runner.actions.project import Project

READY_SECONDS = 60.0
"""Seconds that a worker may take until it is ready for runs."""

_PID_FILE = "worker.pid"
_ARGUMENTS_FILE = "worker.arguments.json"
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND

_PAUSE = 0.05
"""Seconds between two checks of a process that is not a child of this one."""
_LONGEST = 64 * 1024
"""Bytes that are read of the file of arguments."""


class WorkerNotStarted(RunnerError):
    """The detached worker ended while it started."""

    code = "worker_not_started"


@dataclass(frozen=True, slots=True)
class Up:
    """A detached worker that takes runs.

    ``started`` is False if it was up before. ``arguments`` are those it was started with, or None if they are unknown:
    older versions of the runner did not record them.
    """

    pid: int
    log: Path
    started: bool
    arguments: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Down:
    """The result of ``down``.

    ``killed`` is True if the worker did not end within its grace period. ``server`` is True if the embedded server was
    stopped. ``left`` is the process id of an embedded server that still runs although ``redis_url`` names another.
    """

    pid: int | None
    killed: bool
    server: bool
    left: int | None


def start_detached(project: Project, arguments: Sequence[str]) -> Up:
    """Start the detached worker and return once it takes runs.

    Args:
        project: the project of the worker.
        arguments: the arguments of ``runner worker``.

    Raises:
        WorkerNotStarted: the worker ended while it started; the message has the end of its log.
        Unavailable: the worker was not ready in time, or Redis cannot be reached.
        InvalidSettings: the state folder is another user's, or cannot be written.
    """
    # Starts the embedded server, and reports an unreachable Redis before any file is written.
    former = frozenset(worker.name for worker in project.ledger.workers())
    with state_folder(project.settings.state_dir) as state, _pid_file(state) as descriptor:
        log = state.path / "log" / "worker.log"
        if not _lock(descriptor):
            return Up(_read_pid(descriptor)[0], log, started=False, arguments=_read_arguments(state))
        with state.folder("log") as logs, os.fdopen(logs.open(log.name, _APPEND), "ab") as written:
            begins = written.seek(0, os.SEEK_END)
            process = start_worker(
                project.settings,
                [*arguments, "--hold", str(descriptor)],
                stdout=written,
                stderr=written,
                start_new_session=True,
                pass_fds=(descriptor,),
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{process.pid} {started_at(process.pid)}\n".encode(), 0)
        _write_arguments(state, arguments)
        try:
            _until_ready(project, process, former, log, begins)
        except BaseException:
            process.terminate()
            raise
        return Up(process.pid, log, started=True, arguments=tuple(arguments))


def stop_detached(project: Project, on_wait: Callable[[int, float], None] = lambda _pid, _grace: None) -> Down:
    """Stop the detached worker, gracefully at first, then the embedded server.

    Args:
        project: the project of the worker.
        on_wait: called with the worker's process id and its grace period in seconds before waiting for it.

    Raises:
        Unavailable: the process that holds the lock is not the recorded one, or the server does not end.
        InvalidSettings: the state folder is another user's.
    """
    pid, killed = None, False
    if os.path.lexists(project.settings.state_dir / _PID_FILE):
        with state_folder(project.settings.state_dir) as state, _pid_file(state) as descriptor:
            if not _lock(descriptor):
                pid, started = _read_pid(descriptor)
                started = started or _start_of_holder(pid, descriptor)
                _check(pid, started, state.path / _PID_FILE)
                on_wait(pid, project.settings.worker.shutdown_grace)
                killed = not _end(pid, started, descriptor, project.settings.worker.shutdown_grace + 10.0)
            state.remove(_PID_FILE)
            state.remove(_ARGUMENTS_FILE)
    stopped, left = _stop_server(project)
    return Down(pid, killed, stopped, left)


def _stop_server(project: Project) -> tuple[bool, int | None]:
    """Stop the embedded server if the project uses it; return whether one was stopped, and the id of one that is left.

    One is left if ``redis_url`` has changed since: it may hold waiting runs, so stopping it is up to the user.
    """
    from runner import embedded  # start-up time: only this command stops servers

    if project.settings.redis_url == "embedded":
        return embedded.stop(project.settings), None
    server = embedded.running(project.settings)
    return False, server.pid if server is not None else None


@contextmanager
def _pid_file(state: StateFolder) -> Iterator[int]:
    descriptor = state.open(_PID_FILE, os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(descriptor: int) -> tuple[int, str]:
    """Return id and start time of the process that holds the lock; the start time is "" in files of older versions.

    Raises:
        Unavailable: the process, which writes the file right after it has taken the lock, wrote nothing within 5 s.
    """
    for _ in range(100):
        pid, _, started = os.pread(descriptor, 128, 0).decode("ascii", "replace").partition(" ")
        if pid.strip().isdecimal():
            return int(pid), started.strip()
        time.sleep(_PAUSE)
    raise Unavailable("the detached worker holds its lock, but its process id is unknown", hint="try again")


def _write_arguments(state: StateFolder, arguments: Sequence[str]) -> None:
    with os.fdopen(state.open(_ARGUMENTS_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8") as file:
        json.dump(list(arguments), file)


def _read_arguments(state: StateFolder) -> tuple[str, ...] | None:
    try:
        return tuple(json.loads(read_own(state.path / _ARGUMENTS_FILE, _LONGEST)))
    except (OSError, ValueError, TypeError):
        return None


def _start_of_holder(pid: int, descriptor: int) -> str:
    """Return the start time of the process if it has the file open, "" otherwise; older versions recorded none."""
    return (started_at(pid) or "") if has_open(pid, os.fstat(descriptor)) else ""


def _check(pid: int, started: str, file: Path) -> None:
    """Check that a process is the detached worker, and not another one that was given its process id.

    Raises:
        Unavailable: the process that holds the lock is not the recorded one, or runs in another container.
    """
    if not is_same(pid, started) or os.getsid(pid) != pid:
        raise Unavailable(
            f"{file} is locked by a process that is not the one it names ({pid}), so nothing was stopped",
            hint=f"stop the worker where it runs (in a container with this folder?); fuser -v {file} may tell",
        )


def _until_ready(
    project: Project, process: subprocess.Popen[bytes], former: frozenset[str], log: Path, begins: int
) -> None:
    """Wait until the ledger knows a worker with this process id and host that is not one of ``former``.

    In a container, a worker that was killed may have had the same process id and host.
    """
    host, deadline = socket.gethostname(), time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        for worker in project.ledger.workers():
            if worker.pid == process.pid and worker.host == host and worker.name not in former:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(_PAUSE)
            raise WorkerNotStarted(
                f"the worker ended with exit code {code} while it started:\n{_end_of(log, begins)}",
                hint=f"its whole log is {log}",
            )
    raise Unavailable(f"the worker was not ready within {READY_SECONDS:g} s, and was stopped", hint=f"its log is {log}")


def _end_of(log: Path, begins: int, lines: int = 10) -> str:
    with log.open("rb") as opened:
        opened.seek(begins)
        return "\n".join(opened.read().decode("utf-8", "replace").splitlines()[-lines:])


def _end(pid: int, started: str, descriptor: int, grace: float) -> bool:
    """Send a worker SIGTERM, and kill it after ``grace`` seconds. Return whether it ended before that."""
    if not send(pid, started, signal.SIGTERM):
        return True
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        if _lock(descriptor) or not is_same(pid, started):
            return True
        time.sleep(_PAUSE)
    if is_same(pid, started):
        kill_group(pid, signal.SIGKILL, 0.0)
    return False
