"""The detached worker of ``runner up -d``: one a project and host, held by a lock that lives as long as it does.

``.runner/worker.pid`` holds its process id and when that process started. The worker has the file open and locked; the
lock goes when the process does, however that ends, so a stale file is never mistaken for a worker. Nothing is signaled
unless both fit.
"""

from __future__ import annotations

import contextlib
import fcntl
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
from runner.host.state import StateFolder, state_folder
from runner.process.group import kill_group

if TYPE_CHECKING:
    from runner.actions.project import Project

READY_SECONDS = 60.0
"""How long a worker may take until it consumes."""

_PID_FILE = "worker.pid"
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND

_PAUSE = 0.05
"""Seconds between two looks at a process that is no child of ours."""


class WorkerNotStarted(RunnerError):
    """The detached worker ended while it started."""

    code = "worker_not_started"


@dataclass(frozen=True, slots=True)
class Up:
    """A detached worker that takes runs. ``started`` is False if it was up before."""

    pid: int
    log: Path
    started: bool


@dataclass(frozen=True, slots=True)
class Down:
    """The result of ``down``. ``killed`` is True if the worker did not end within its grace."""

    pid: int | None
    killed: bool
    server: bool


def start_detached(project: Project, arguments: Sequence[str]) -> Up:
    """Start the detached worker and return once it takes runs.

    Args:
        project: whose worker.
        arguments: of ``runner worker``.

    Raises:
        WorkerNotStarted: it ended instead; the message has the end of its log.
        Unavailable: it did not take runs in time, or Redis cannot be reached.
        InvalidSettings: the folder of its state is another user's, or cannot be written.
    """
    # This starts the embedded server, and tells of an unreachable Redis before anything is made.
    former = frozenset(worker.name for worker in project.ledger.workers())
    with state_folder(project.settings.state_dir) as state, _pid_file(state) as descriptor:
        log = state.path / "log" / "worker.log"
        if not _lock(descriptor):
            return Up(_read_pid(descriptor)[0], log, started=False)
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
        try:
            _until_ready(project, process, former, log, begins)
        except BaseException:
            process.terminate()
            raise
        return Up(process.pid, log, started=True)


def stop_detached(project: Project, on_wait: Callable[[int, float], None] = lambda _pid, _grace: None) -> Down:
    """Stop the detached worker, gracefully at first, then the embedded server.

    Args:
        project: whose worker.
        on_wait: called with the worker's process id and its grace in seconds before it is waited for.

    Raises:
        Unavailable: the worker that was started here cannot be told from another process, or the server does not end.
        InvalidSettings: the folder of its state is another user's.
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
    return Down(pid, killed, _stop_server(project))


def _stop_server(project: Project) -> bool:
    if project.settings.redis_url != "embedded":
        return False
    from runner import embedded  # start-up time: only this command stops servers

    return bool(embedded.stop(project.settings))


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
    """Return number and start of the process that holds the lock; they are written right after the lock was taken."""
    for _ in range(100):
        words = os.pread(descriptor, 128, 0).decode("ascii", "replace").split()
        if words and words[0].isdecimal():
            return int(words[0]), words[1] if len(words) > 1 else ""
        time.sleep(_PAUSE)
    raise Unavailable("the detached worker is locked, but its process id is not known", hint="try again")


def _start_of_holder(pid: int, descriptor: int) -> str:
    """Return when the process started that has the file open, "" if another has; older versions wrote no start."""
    return (started_at(pid) or "") if has_open(pid, os.fstat(descriptor)) else ""


def _check(pid: int, started: str, file: Path) -> None:
    """Refuse to signal a process that only has the worker's number.

    Raises:
        Unavailable: the process that holds the lock is not the one that the file names, or not here.
    """
    if not is_same(pid, started) or os.getsid(pid) != pid:
        raise Unavailable(
            f"{file} is locked by a process that is not the one it names ({pid}), so nothing was stopped",
            hint=f"stop the worker where it runs (in a container with this folder?); fuser -v {file} may tell",
        )


def _until_ready(
    project: Project, process: subprocess.Popen[bytes], former: frozenset[str], log: Path, begins: int
) -> None:
    """Wait until a worker that is not one of ``former`` tells the ledger this process's number and host.

    In a container, a worker that was killed had the same ones.
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
    raise Unavailable(f"the worker took no runs within {READY_SECONDS:g} s, it was stopped", hint=f"its log is {log}")


def _end_of(log: Path, begins: int, lines: int = 10) -> str:
    with log.open("rb") as opened:
        opened.seek(begins)
        return "\n".join(opened.read().decode("utf-8", "replace").splitlines()[-lines:])


def _end(pid: int, started: str, descriptor: int, grace: float) -> bool:
    """Ask a worker to end and wait for it; kill it after ``grace`` seconds. Return whether it ended by itself."""
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
