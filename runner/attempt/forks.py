"""Handle forks that a job makes: none goes on as a worker, and all may have children.

``os.fork`` copies the whole stack. A fork that returns from the job or raises an exception would settle its parent's
run and then take runs as a second worker.
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
"""The exit code of a process that an exception ended, as in Python."""


class ending_forks:  # noqa: N801 - it is used as a function
    """End each process that leaves the block, except the one that entered it."""

    def __enter__(self) -> None:
        self._entered = os.getpid()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._entered:
            _end(error)


def _end(error: BaseException | None) -> NoReturn:
    """Exit like Python, but without running the parent's ``finally`` blocks and ``atexit`` functions."""
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

    Celery's pool sets the current process of ``multiprocessing`` to a daemonic one, which may not have children, and
    whose key cannot be passed to a spawned process.

    Args:
        name: the name of the process, for example in logs.
    """
    global _main
    if _main is None:
        _main = _MainProcess()
    else:
        # In a fork, as `multiprocessing` does in its own.
        util._finalizer_registry.clear()  # type: ignore[attr-defined]
        util._run_after_forkers()  # type: ignore[attr-defined]
        _forget_fork_server()
    _main._name = name
    if _default_context._actual_context is _default_context._default_context:
        # A job may still choose the start method, even if the worker has used multiprocessing.
        _default_context._actual_context = None
    process._current_process = _main  # type: ignore[attr-defined]
    process._parent_process = None  # type: ignore[attr-defined]
    process._children = set()  # type: ignore[attr-defined]
    process._process_counter = itertools.count(1)  # type: ignore[attr-defined]


class _MainProcess(process.BaseProcess):
    """A copy of the class with this name, which ``multiprocessing.process`` instantiates once and deletes."""

    def __init__(self) -> None:
        self._identity: tuple[int, ...] = ()
        self._name = "MainProcess"
        self._parent_pid = None
        self._popen = None
        self._closed = False
        self._config = {"authkey": process.AuthenticationString(os.urandom(32)), "semprefix": "/mp"}  # type: ignore[attr-defined]

    def close(self) -> None:
        """Do nothing, as in any main process."""


_main: _MainProcess | None = None
"""The current process for ``multiprocessing``; kept across forks, because a parent's managers know its key."""


def _forget_fork_server() -> None:
    """Forget the inherited fork server: its children would be in the server's process group."""
    module = sys.modules.get("multiprocessing.forkserver")
    server = getattr(module, "_forkserver", None)
    if server is None or server._forkserver_pid is None:
        return
    os.close(server._forkserver_alive_fd)
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


def reset_signals_in_forks() -> None:
    """Give forks of a job the default signal handlers: the pool's would unwind a child or raise a timeout."""
    # Signals are held back, because the exception of a handler in an after-fork function is swallowed.
    os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_reset_signals)


_OF_THE_POOL = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
_held_back = threading.local()


def _hold_back() -> None:
    _held_back.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_POOL)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held_back.mask)


def _reset_signals() -> None:
    for signum in _OF_THE_POOL:
        # Handlers that the job has set stay.
        if (getattr(signal.getsignal(signum), "__module__", None) or "").startswith(("billiard.", "runner.")):
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    _let_through()
