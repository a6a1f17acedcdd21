"""The detached worker of ``runner up -d``: one a project and host, held by a lock that lives as long as it does.

``.runner/worker.pid`` holds its process id. The worker has the file open and locked; the lock goes when the process
does, however that ends, so a stale file is never mistaken for a worker.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.actions.worker_process import start_worker
from runner.errors import RunnerError, Unavailable
from runner.process_group import kill_group

if TYPE_CHECKING:
    from runner.actions.project import Project

READY_SECONDS = 60.0
"""How long a worker may take until it consumes."""

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
    """What was stopped. ``killed``: the worker did not end within its grace."""

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
    """
    project.ledger.workers()  # starts the embedded server, and tells of an unreachable Redis before anything is made
    log = _log_file(project)
    with _pid_file(project) as descriptor:
        if not _lock(descriptor):
            return Up(_read_pid(descriptor), log, started=False)
        with log.open("ab") as written:
            begins = written.tell()
            process = start_worker(
                project.settings,
                [*arguments, "--hold", str(descriptor)],
                stdout=written,
                stderr=written,
                start_new_session=True,
                pass_fds=(descriptor,),
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{process.pid}\n".encode(), 0)
        try:
            _until_ready(project, process, log, begins)
        except BaseException:
            process.terminate()
            raise
        return Up(process.pid, log, started=True)


def stop_detached(project: Project, on_wait: Callable[[int, float], None] = lambda _pid, _grace: None) -> Down:
    """Stop the detached worker, gracefully at first, then the embedded server.

    Args:
        project: whose worker.
        on_wait: called with the worker's process id and its grace in seconds before it is waited for.
    """
    pid, killed = None, False
    if (project.settings.state_dir / "worker.pid").exists():
        with _pid_file(project) as descriptor:
            if not _lock(descriptor):
                pid = _read_pid(descriptor)
                on_wait(pid, project.settings.worker.shutdown_grace)
                killed = not _end(pid, descriptor, project.settings.worker.shutdown_grace + 10.0)
            (project.settings.state_dir / "worker.pid").unlink(missing_ok=True)
    return Down(pid, killed, _stop_server(project))


def _stop_server(project: Project) -> bool:
    if project.settings.redis_url != "embedded":
        return False
    from runner import embedded  # start-up time: only this command stops servers

    return bool(embedded.stop(project.settings))


@contextmanager
def _pid_file(project: Project) -> Iterator[int]:
    folder = project.settings.state_dir
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / "worker.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def _read_pid(descriptor: int) -> int:
    """Return the id of the process that holds the lock; it is written right after the lock was taken."""
    for _ in range(100):
        text = os.pread(descriptor, 32, 0).strip()
        if text.isdigit():
            return int(text)
        time.sleep(_PAUSE)
    raise Unavailable("the detached worker is locked, but its process id is not known", hint="try again")


def _log_file(project: Project) -> Path:
    folder = project.settings.state_dir / "log"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "worker.log"


def _until_ready(project: Project, process: subprocess.Popen[bytes], log: Path, begins: int) -> None:
    host, deadline = socket.gethostname(), time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if any(worker["pid"] == process.pid and worker["host"] == host for worker in project.ledger.workers()):
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


def _end(pid: int, descriptor: int, grace: float) -> bool:
    """Ask a worker to end and wait for it; kill it after ``grace`` seconds. Return whether it ended by itself."""
    # It leads a session: a process of that id that does not is somebody else's, and the lock a leftover's.
    with contextlib.suppress(ProcessLookupError):
        if os.getsid(pid) != pid:
            return True
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            if _lock(descriptor):
                return True
            os.kill(pid, 0)
            time.sleep(_PAUSE)
        kill_group(pid, signal.SIGKILL, 0.0)
        return False
    return True
