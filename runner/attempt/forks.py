"""Copies of a worker's process that a job makes: none of them goes on as a worker, and all may have children.

``os.fork`` copies the whole stack, so that a copy which returns from the job, or raises out of it, would settle its
parent's run, and then take runs as a second worker.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import traceback
from multiprocessing import context, process, util
from types import TracebackType
from typing import Any, NoReturn

_default_context: Any = context._default_context

FAILED = 1
"""What a process exits with that an exception ended, as Python's own."""


class ending_forks:  # noqa: N801 - it is used as a function
    """End each process that leaves the block, but for the one that entered it."""

    def __enter__(self) -> None:
        self._entered = os.getpid()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._entered:
            _end(error)


def _end(error: BaseException | None) -> NoReturn:
    """Exit as Python would, but run nothing that was left to the parent: no ``finally``, no ``atexit``."""
    status = FAILED
    try:
        status = _status(error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(status)


def _status(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
        return FAILED
    if error.code is None:
        return 0
    if type(error.code) is int:
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return FAILED


def own_multiprocessing(name: str) -> None:
    """Let ``multiprocessing`` start processes in this process. Called again after each fork.

    Celery's pool puts its own idea of the current process into ``multiprocessing``: a daemonic one, which may have no
    children, and whose key cannot be passed to a spawned process.

    Args:
        name: what the process is called, in logs for example.
    """
    global _main
    if _main is None:
        _main = _MainProcess()
    else:
        # In a fork: as `multiprocessing` does in those that it makes itself.
        util._finalizer_registry.clear()  # type: ignore[attr-defined]
        util._run_after_forkers()  # type: ignore[attr-defined]
        _forget_fork_server()
    _main._name = name
    if _default_context._actual_context is _default_context._default_context:
        # What the worker itself has used of it decides nothing: a job may still choose the start method.
        _default_context._actual_context = None
    process._current_process = _main  # type: ignore[attr-defined]
    process._parent_process = None  # type: ignore[attr-defined]
    process._children = set()  # type: ignore[attr-defined]
    process._process_counter = itertools.count(1)  # type: ignore[attr-defined]


class _MainProcess(process.BaseProcess):
    """As the class of that name that ``multiprocessing.process`` makes once, and deletes."""

    def __init__(self) -> None:
        self._identity: tuple[int, ...] = ()
        self._name = "MainProcess"
        self._parent_pid = None
        self._popen = None
        self._closed = False
        self._config = {"authkey": process.AuthenticationString(os.urandom(32)), "semprefix": "/mp"}  # type: ignore[attr-defined]

    def close(self) -> None:
        """Do nothing, as the main process of any program."""


_main: _MainProcess | None = None
"""The current process to ``multiprocessing``; kept across forks, since a parent's managers know its key."""


def _forget_fork_server() -> None:
    """Forget the inherited fork server: its children would be in the server's process group."""
    module = sys.modules.get("multiprocessing.forkserver")
    server = getattr(module, "_forkserver", None)
    if server is None or server._forkserver_pid is None:
        return
    os.close(server._forkserver_alive_fd)
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


def reset_signals_in_forks() -> None:
    """Give what a job forks the default handlers in place of the pool's, which unwind a child, or time a job out."""
    # Held back meanwhile: a handler that raises among what runs after a fork is not heard, and the signal is lost.
    os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_reset_signals)


_OF_THE_POOL = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
_held_back = threading.local()


def _hold_back() -> None:
    _held_back.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_POOL)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held_back.mask)


def _reset_signals() -> None:
    for signum in _OF_THE_POOL:
        # One that the job has set is the job's.
        if (getattr(signal.getsignal(signum), "__module__", None) or "").startswith(("billiard.", "runner.")):
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    _let_through()
