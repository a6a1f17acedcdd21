"""End process groups, and have them end together with the process that started them.

``guard`` registers a group with this process's supervisor (``runner/process/supervisor.py``), a helper
process that sends SIGKILL to every registered group once this process is gone, however it died. That
needs no ``finally``, no signal handler, and no parent that watches.

The first ``guard`` of a process starts the supervisor, which ends after the process. A forked child has
no supervisor until it guards a group itself. The next ``guard`` or ``renew`` replaces a supervisor that
was killed, and registers all groups again. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.process.supervisor import group_alive

__all__ = [
    "entering",
    "group_alive",
    "guard",
    "is_supervisor",
    "kill_group",
    "lent",
    "release",
    "renew",
    "signal_group",
    "uninterrupted",
]

START_SECONDS = 10.0
"""Seconds that a supervisor may take to start."""

KILL_PATIENCE_SECONDS = 10.0
"""Seconds to wait for a group to end after SIGKILL; a process stuck in the kernel can take forever."""

POLL_SECONDS = 0.01

INTERRUPTS = {
    signal.SIGUSR1,  # the soft timeout of a Celery pool
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGALRM,
}
"""The signals whose handlers commonly raise; they are held back while a process is starting."""

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_PROC = Path("/proc")


class _Supervisor:
    """A running supervisor, from the view of the process that it watches."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe

    def alive(self) -> bool:
        """Return whether it runs; reap it if it does not."""
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def send_line(self, line: str) -> bool:
        """Send one line; return False if the supervisor will not read it."""
        if not self.alive():
            return False
        try:
            os.write(self.pipe, line.encode())
        except OSError:
            # BrokenPipeError: it has just died. BlockingIOError: it is stopped, and the pipe is full.
            return False
        return True

    def discard(self) -> None:
        """End it without letting it kill the groups."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        os.close(self.pipe)


class _Lent(_Supervisor):
    """The supervisor of the process that this one was forked from."""

    def alive(self) -> bool:
        """Return True: only its parent could tell, so :meth:`tell` finds out."""
        return True

    def discard(self) -> None:
        """Close this process's end of the pipe; the supervisor goes on."""
        os.close(self.pipe)


class _State:
    """The process groups that this process guards. A forked child starts with none."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.supervisor: _Supervisor | None = None
        self.guarded: dict[int, None] = {}


_state = _State()


def _forget_after_fork() -> None:
    """Close the pipe that a fork inherits, so that the end of the pipe still means the end of the parent."""
    global _state
    if _state.supervisor is not None:
        os.close(_state.supervisor.pipe)
    _state = _State()


os.register_at_fork(after_in_child=_forget_after_fork)


def guard(pgid: int) -> None:
    """Have process group ``pgid`` killed (SIGKILL) when this process is gone, however it dies.

    Guarding a group twice has no further effect. The registration is in force when this returns.

    Raises:
        OSError: the supervisor cannot be started; the group is not guarded.
    """
    _check(pgid)
    with _state.lock:
        known = pgid in _state.guarded
        _state.guarded[pgid] = None
        try:
            if _state.supervisor is None or not _state.supervisor.send_line(f"+{pgid}\n"):
                _restart()
        except BaseException:
            if not known:
                del _state.guarded[pgid]
            raise


def release(pgid: int) -> None:
    """Stop guarding process group ``pgid``.

    Call it before the group's leader is reaped: after that, the kernel may reuse its id.
    """
    _check(pgid)
    with _state.lock:
        if pgid not in _state.guarded:
            return
        del _state.guarded[pgid]
        if _state.supervisor is not None:
            _state.supervisor.send_line(f"-{pgid}\n")


def renew() -> None:
    """Replace the supervisor if it was killed while groups are guarded. Costs one system call otherwise.

    Raises:
        OSError: the supervisor cannot be started.
    """
    with _state.lock:
        if _state.guarded and (_state.supervisor is None or not _state.supervisor.alive()):
            _restart()


def before_exec(enter: Callable[[], None], mask: set[int | signal.Signals]) -> Callable[[], None]:
    """Return the ``preexec_fn`` of a program that :func:`entering` and :func:`uninterrupted` surround.

    Args:
        enter: from :func:`entering`.
        mask: from :func:`uninterrupted`.
    """

    def prepare() -> None:
        enter()
        # A signal that this process ignores would stay ignored across exec.
        for signum in INTERRUPTS:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare


@contextlib.contextmanager
def entering() -> Iterator[Callable[[], None]]:
    """Yield a ``preexec_fn`` that guards the group of the new process before its program starts.

    The new process must lead a group of its own (``start_new_session=True``). It registers itself, so
    this process cannot die between the start and the registration and leave it behind. If the start
    fails, the registration is removed.

    Raises:
        OSError: the supervisor cannot be started.
    """
    with _state.lock:
        if _state.supervisor is None or not _state.supervisor.alive():
            _restart()
        supervisor = _state.supervisor
        assert supervisor is not None
        # A copy, since the one in `_state` is closed in forked children before `preexec_fn` is called.
        line = os.dup(supervisor.pipe)
    entered, entrance = os.pipe()
    os.set_blocking(entered, False)

    def enter() -> None:
        os.write(entrance, b"%d" % os.getpid())
        os.write(line, b"+%d\n" % os.getpid())

    def entrant() -> int | None:
        try:
            return int(os.read(entered, 32))
        except (BlockingIOError, ValueError):
            return None

    try:
        try:
            yield enter
        finally:
            pgid = entrant()
            if pgid is not None:
                _state.guarded[pgid] = None
    except BaseException:
        if pgid is not None:
            release(pgid)
        raise
    finally:
        for descriptor in (line, entered, entrance):
            os.close(descriptor)


@contextlib.contextmanager
def lent() -> Iterator[Callable[[], None]]:
    """Yield a function that a child forked in the block calls to share this process's supervisor.

    The groups that the child guards then end with this process, and :func:`kill_group` of this process's group waits
    for them.

    Raises:
        OSError: the supervisor cannot be started.
    """
    with _state.lock:
        if _state.supervisor is None or not _state.supervisor.alive():
            _restart()
        assert _state.supervisor is not None
        # A copy, since the one in `_state` is closed in forked children.
        pid, line = _state.supervisor.pid, os.dup(_state.supervisor.pipe)

    def adopt() -> None:
        _state.supervisor = _Lent(pid, line)

    try:
        yield adopt
    finally:
        os.close(line)


@contextlib.contextmanager
def uninterrupted() -> Iterator[set[int | signal.Signals]]:
    """Hold back the signals whose handlers may raise until the block ends; yield the signal mask before."""
    before: set[int | signal.Signals] = set(signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS))
    try:
        with _handlers_held_back():
            yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _handlers_held_back() -> Iterator[None]:
    """Record the signals instead of handling them, and send them again when the block ends.

    The signal mask of a thread is not enough: the kernel delivers a signal to another thread that does
    not block it, and Python still runs the handler in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        # No handler runs here, so none can raise here.
        yield
        return
    noted: dict[int, None] = {}
    handlers: dict[int, Callable[..., object] | int | None] = {}
    try:
        for signum in INTERRUPTS:
            # A handler that was not set from Python runs no Python code, and could not be restored.
            if callable(handler := signal.getsignal(signum)):
                handlers[signum] = handler
                signal.signal(signum, lambda number, _frame: noted.setdefault(number))
        yield
    finally:
        interruption: BaseException | None = None
        for number, handler in handlers.items():
            try:
                signal.signal(number, handler)
            except BaseException as error:  # noqa: BLE001 - from a handler that is restored already; raised below
                signal.signal(number, handler)
                interruption = error
        for number in noted:
            signal.raise_signal(number)
        if interruption is not None:
            raise interruption


def kill_group(pgid: int, signum: int, grace: float) -> bool:
    """Send ``signum`` to process group ``pgid``, and after ``grace`` seconds SIGKILL to the processes left.

    Returns as soon as the group is empty. A zombie counts as dead, so a group of children can be ended
    without reaping them first. If its leader guarded groups of its own, this waits for their end, too,
    which their supervisor brings about.

    Returns:
        True once all processes are dead; False if one survives SIGKILL by ten seconds, or this user may not
        signal it.
    """
    _check(pgid)
    if pgid == os.getpgrp():
        raise ValueError("a process cannot wait for the end of its own group")
    signal_group(pgid, signum)
    if signum != signal.SIGKILL and not _wait_until_empty(pgid, grace):
        signal_group(pgid, signal.SIGKILL)
    deadline = time.monotonic() + KILL_PATIENCE_SECONDS
    return _wait_until_empty(pgid, KILL_PATIENCE_SECONDS) and _wait_for_supervisor(pgid, deadline)


def await_group(pgid: int) -> bool:
    """Wait until a group that was ended elsewhere is empty; return False if it is not after ten seconds."""
    if pgid <= 1:
        return True
    deadline = time.monotonic() + KILL_PATIENCE_SECONDS
    return _wait_until_empty(pgid, KILL_PATIENCE_SECONDS) and _wait_for_supervisor(pgid, deadline)


def signal_group(pgid: int, signum: int) -> None:
    """Send ``signum`` to a group, and continue its stopped processes so that they can act on the signal."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signum)
        if signum not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            os.killpg(pgid, signal.SIGCONT)


def _wait_for_supervisor(parent: int, deadline: float) -> bool:
    """Wait until the supervisor of a process that has ended has killed the groups."""
    supervisor = _supervisor_of(parent)
    return supervisor is None or _wait_until_empty(supervisor, deadline - time.monotonic())


def _supervisor_of(parent: int) -> int | None:
    """Return the id of the supervisor of a process, found by its command line; it leads a group of its own."""
    ending = [str(_SUPERVISOR), str(parent)]
    if (_PROC / "self/cmdline").exists():
        for line in _PROC.glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if line.read_bytes().decode(errors="replace").split("\0")[-3:-1] == ending:
                    return int(line.parent.name)
        return None
    listed = subprocess.run(["ps", "-Aww", "-o", "pid=,args="], capture_output=True, text=True, check=False)
    for entry in listed.stdout.splitlines():
        if entry.endswith(" " + " ".join(ending)):
            return int(entry.split()[0])
    return None


def is_supervisor(pid: int) -> bool:
    """Return whether a process is the supervisor of another one, by its command line; False without ``/proc``."""
    try:
        return os.fsencode(_SUPERVISOR) in (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _wait_until_empty(pgid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    pause = POLL_SECONDS / 10
    while group_alive(pgid):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, POLL_SECONDS * 5)
    return True


def _check(pgid: int) -> None:
    if pgid <= 1:
        raise ValueError(f"{pgid} is not a process group that one may end")


def _restart() -> None:
    """Start a supervisor, register every guarded group with it, and only then replace the one before."""
    started = _start()
    for pgid in _state.guarded:
        if not started.send_line(f"+{pgid}\n"):
            started.discard()
            raise OSError("the supervisor of process groups died while starting")
    previous, _state.supervisor = _state.supervisor, started
    if previous is not None:
        previous.discard()


def _start() -> _Supervisor:
    """Start a supervisor and wait until it watches this process.

    ``posix_spawn`` runs no Python code between fork and exec, so it is safe with other threads. All
    descriptors that Python opens are close-on-exec; the supervisor closes any others itself.
    """
    if not sys.executable:
        raise OSError("the supervisor of process groups needs sys.executable, which is not set")
    with uninterrupted():
        reading, pipe = _pipe()
        ready, write_ready = _pipe()
        pid = 0
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-B", str(_SUPERVISOR), str(os.getpid())],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_DUP2, write_ready, 1)],
                setsid=True,
                setsigmask=(),
            )
            os.close(write_ready)
            write_ready = -1
            if not _readable(ready, START_SECONDS) or not os.read(ready, 16):
                raise OSError(f"the supervisor of process groups did not start ({sys.executable} {_SUPERVISOR})")
            os.set_blocking(pipe, False)
            return _Supervisor(pid, pipe)
        except BaseException:
            if pid:
                _Supervisor(pid, pipe).discard()
            else:
                os.close(pipe)
            raise
        finally:
            for descriptor in (reading, ready, write_ready):
                if descriptor >= 0:
                    os.close(descriptor)


def _readable(descriptor: int, seconds: float) -> bool:
    # Not select(), which takes no descriptor over 1023.
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _pipe() -> tuple[int, int]:
    """Return a pipe whose ends are not 0, 1, or 2, even in a process that has closed its standard streams."""
    ends = os.pipe()
    try:
        return fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        for end in ends:
            os.close(end)
