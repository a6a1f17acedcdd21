"""The parts of a process's state that a job can change and a worker can restore. See ``process_state.py``."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import ctypes
import decimal
import faulthandler
import gc
import http.client
import locale
import logging
import multiprocessing.context
import multiprocessing.process
import os
import resource
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
import tracemalloc
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from types import ModuleType
from typing import Any

from runner._dataclass import dataclass
from runner.attempt import builtin_names
from runner.attempt.loggers import Loggers

_MISSING = object()
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_STOPPED = [(0.0, 0.0)] * len(_TIMERS)
_NO_TIMERS = [False] * len(_TIMERS)
_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
_SIGNALS = [int(number) for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]

# The wrappers in `signal` create an enum member for each signal, which takes longer than all the rest.
_signal = sys.modules.get("_signal", signal)
_handler_of: Callable[[int], Any] = _signal.getsignal
_blocked_signals: Callable[[], set[int]] = partial(_signal.pthread_sigmask, signal.SIG_BLOCK, ())
# The wrapper in `locale` checks its arguments first.
_locale_of: Callable[[int], str] = getattr(locale, "_setlocale", locale.setlocale)

_PATCHED: tuple[tuple[Any, str], ...] = (
    # Objects that people replace for the whole process, because a library has no better way.
    (http.client.HTTPConnection, "debuglevel"),
    (logging, "_warnings_showwarning"),
    (logging.Formatter, "converter"),
    (socket, "create_connection"),
    (socket, "getaddrinfo"),
    (socket, "socket"),
    (ssl, "_create_default_https_context"),
    (sys, "breakpointhook"),
    (sys, "displayhook"),
    (sys, "dont_write_bytecode"),
    (sys, "excepthook"),
    (sys, "executable"),
    (sys, "exit"),
    (sys, "tracebacklimit"),
    (sys, "unraisablehook"),
    (threading, "_profile_hook"),
    (threading, "_trace_hook"),
    (threading, "excepthook"),
    (time, "monotonic"),
    (time, "sleep"),
    (time, "time"),
    (urllib.request, "_opener"),
)

_OWN_MODULES = ("amqp", "billiard", "celery", "kombu", "redis", "runner", "vine", "yaml")

OF_THE_POOL = (signal.SIGTERM, signal.SIGUSR1)
"""The signals by which a worker ends a child and raises a soft timeout."""

_CODEC_ERRORS = ("strict", "ignore", "replace", "backslashreplace", "surrogateescape", "surrogatepass")

_CACHED: tuple[tuple[Any, str], ...] = (
    # Objects that the standard library creates on demand for the whole process; no job has "changed" these.
    (asyncio.events, "_event_loop_policy"),
    (multiprocessing.context._default_context, "_actual_context"),
    (tempfile, "tempdir"),
)


@dataclass(frozen=True, slots=True)
class Aspect:
    """One part of the state: its name in the log, and functions to read and restore it."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    is_logged: bool = True
    """Whether the log mentions a change."""
    own: bool = False
    """Whether a fork has a different value."""


def aspects_of() -> list[Aspect]:
    """Return the aspects of this platform, in the order of restoring.

    Modules and limits come first, because nothing else can be restored without imports, descriptors, and memory; then
    signals.
    """
    found = [
        _modules(),
        Aspect("resource limits", _limits, _set_limits),
        Aspect("timers", _timers, _stop_timers),
        Aspect("signal handlers", lambda: list(map(_handler_of, _SIGNALS)), _set_handlers),
        Aspect("signal mask", _blocked_signals, _set_mask),
        Aspect("signal wakeup descriptor", _no_wakeup, lambda _: None),
        Aspect("trace function", sys.gettrace, sys.settrace),
        Aspect("profile function", sys.getprofile, sys.setprofile),
        Aspect("audit hooks", _audit_hooks(), _log_without_frames),
        Aspect("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        Aspect("user, group, or process group", _identity, _cannot, own=True),
        Aspect("root folder", partial(_file_identity, "/"), _cannot),
        _working_folder(),
        Aspect("umask", _umask, os.umask),
        Aspect("open descriptors", _room_for_descriptors(), _cannot),
        Aspect("priority", partial(os.getpriority, os.PRIO_PROCESS, 0), _set_priority),
        Aspect("locale", partial(_locale_of, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
        Aspect("default socket timeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
        Aspect("thread stack size", threading.stack_size, threading.stack_size),
        Aspect("switch interval", sys.getswitchinterval, sys.setswitchinterval),
        Aspect("limit of int digits", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
        Aspect("garbage collector", _collector, _set_collector),
        Aspect("fault handler", faulthandler.is_enabled, _set_fault_handler),
        Aspect("tracemalloc", tracemalloc.is_tracing, lambda noted: None if noted else tracemalloc.stop()),
        Aspect("warnings", _warnings, _set_warnings),
        Aspect("flags of dlopen", sys.getdlopenflags, sys.setdlopenflags),
        Aspect("hooks of async generators", sys.get_asyncgen_hooks, lambda noted: sys.set_asyncgen_hooks(*noted)),
        Aspect(
            "origins of coroutines",
            sys.get_coroutine_origin_tracking_depth,
            sys.set_coroutine_origin_tracking_depth,
        ),
        Aspect("default decimal context", _decimal_context, _set_decimal_context),
        Aspect("error handlers of codecs", _codec_errors, _set_codec_errors),
        _multiprocessing(),
        _attribute(threading.main_thread(), "name", is_logged=True),
        _builtins(),
        _import_system(),
        *(_attribute(home, name, is_logged=True) for home, name in _PATCHED),
        *(_attribute(home, name, is_logged=False) for home, name in _CACHED),
        Aspect("running event loop", asyncio._get_running_loop, asyncio._set_running_loop),
        _logging(),
    ]
    if hasattr(os, "sched_getscheduler"):
        found.append(Aspect("scheduling policy", _scheduler, _set_scheduler))
    if hasattr(os, "sched_getaffinity"):
        found.append(
            Aspect("CPU affinity", partial(os.sched_getaffinity, 0), lambda noted: os.sched_setaffinity(0, noted))
        )
    return found


def _cannot(noted: Any) -> None:
    """Do nothing: only a new process can undo this."""


# -- the kernel's side


def _limits() -> list[tuple[int, int]]:
    return list(map(resource.getrlimit, _LIMITS))


def _set_limits(noted: list[tuple[int, int]]) -> None:
    for limit, value in zip(_LIMITS, noted, strict=True):
        if resource.getrlimit(limit) != value:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, value)


def _timers() -> list[bool]:
    found = list(map(signal.getitimer, _TIMERS))
    return _NO_TIMERS if found == _STOPPED else [left > 0 for left, _ in found]


def _stop_timers(noted: list[bool]) -> None:
    for timer, runs in zip(_TIMERS, noted, strict=True):
        if not runs:
            signal.setitimer(timer, 0)


def _set_handlers(noted: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, noted, strict=True):
        # A handler that was not set from Python cannot be restored.
        if _handler_of(number) is not handler and handler is not None:
            signal.signal(number, handler)


def _set_mask(noted: Any) -> None:
    _drop_pending(signal.sigpending() - noted)
    signal.pthread_sigmask(signal.SIG_SETMASK, noted)


def _drop_pending(waiting: set[Any]) -> None:
    """Drop pending signals that the job has blocked: most of them would end this process when unblocked."""
    if not waiting or not hasattr(signal, "sigtimedwait"):
        return
    of_the_worker = []
    while (info := signal.sigtimedwait(waiting, 0)) is not None:
        if info.si_signo in OF_THE_POOL and info.si_pid != os.getpid():
            of_the_worker.append(info.si_signo)
    for signum in of_the_worker:
        os.kill(os.getpid(), signum)


def _no_wakeup() -> int:
    """Remove a wakeup descriptor: a taker has none."""
    return signal.set_wakeup_fd(-1) * 0


if hasattr(os, "getresuid"):

    def _identity() -> tuple[Any, ...]:
        return os.getresuid(), os.getresgid(), os.getgroups(), os.getpgrp()

else:

    def _identity() -> tuple[Any, ...]:
        return os.getuid(), os.geteuid(), os.getgid(), os.getgroups(), os.getpgrp()


def _file_identity(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - pathlib takes twice as long
    return found.st_dev, found.st_ino


_folders: list[int] = []
"""The last saved working folder, held open."""


def _working_folder() -> Aspect:
    # Held open, because it may be renamed, or its relative path may not work from the job's folder.
    while _folders:
        os.close(_folders.pop())
    try:
        held = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return Aspect("working folder", partial(_file_identity, "."), _cannot)
    _folders.append(held)
    return Aspect("working folder", partial(_file_identity, "."), lambda _: os.fchdir(held))


def _room_for_descriptors() -> Callable[[], bool]:
    """Return a function that tells whether at least half of the allowed descriptors are free.

    A job may keep files open on purpose, but the next run needs descriptors, too.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def read() -> bool:
        try:
            # The kernel returns the lowest free number.
            lowest = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        os.close(lowest)
        return most == resource.RLIM_INFINITY or lowest < most // 2

    return read


def _umask() -> int:
    found = os.umask(0o77)
    os.umask(found)
    return found


def _set_priority(noted: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, noted)


def _scheduler() -> tuple[int, int]:
    policy = os.sched_getscheduler(0)
    # The usual policy has no priority of this type.
    return policy, 0 if policy == os.SCHED_OTHER else os.sched_getparam(0).sched_priority


def _set_scheduler(noted: tuple[int, int]) -> None:
    policy, priority = noted
    os.sched_setscheduler(0, policy, os.sched_param(priority))


# -- Python's side


def _audit_hooks() -> Callable[[], int]:
    """Return a function that counts the audit hooks that were added since; they cannot be removed."""
    count = getattr(sys.addaudithook, "count", None)
    if count is None:
        # Once per process, because each wrapper makes calls deeper.
        add, added = sys.addaudithook, 0

        def addaudithook(hook: Callable[[str, tuple[Any, ...]], Any]) -> None:
            nonlocal added
            added += 1
            add(hook)

        def count() -> int:
            return added

        addaudithook.count = count  # type: ignore[attr-defined]
        sys.addaudithook = addaudithook
    counted: Callable[[], int] = count
    return counted


def _log_without_frames(noted: int) -> None:
    """Make logging work without ``sys._getframe``, which the hook may refuse; the hook itself stays."""
    logging._srcfile = None


def _decimal_context() -> Any:
    return decimal.DefaultContext.__reduce__()[1]


def _set_decimal_context(noted: Any) -> None:
    context = decimal.DefaultContext
    context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, flags, traps = noted
    for trap in context.traps:
        context.flags[trap], context.traps[trap] = trap in flags, trap in traps


def _codec_errors() -> list[Any]:
    return list(map(codecs.lookup_error, _CODEC_ERRORS))


def _set_codec_errors(noted: list[Any]) -> None:
    for name, handler in zip(_CODEC_ERRORS, noted, strict=True):
        codecs.register_error(name, handler)


def _multiprocessing() -> Aspect:
    # A daemonic process may not have children, and a different key reaches no manager.
    home: Any = multiprocessing.process
    main = home.current_process()
    name, config = main._name, dict(main._config)

    def read() -> bool:
        return home._current_process is main and main._config == config and main._name == name

    def write(_: bool) -> None:
        home._current_process, main._name = main, name
        main._config.clear()
        main._config.update(config)

    return Aspect("current process of multiprocessing", read, write, own=True)


def _collector() -> tuple[Any, ...]:
    # Frozen objects are not counted: those of the template are frozen, and counting takes milliseconds.
    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), list(gc.callbacks)


def _set_collector(noted: tuple[Any, ...]) -> None:
    enabled, threshold, debug, callbacks = noted
    (gc.enable if enabled else gc.disable)()
    gc.set_threshold(*threshold)
    gc.set_debug(debug)
    gc.callbacks[:] = callbacks


def _set_fault_handler(noted: bool) -> None:
    if noted:
        faulthandler.enable(2)
    else:
        faulthandler.disable()


def _warnings() -> tuple[Any, ...]:
    return list(warnings.filters), warnings.showwarning, warnings.formatwarning


def _set_warnings(noted: tuple[Any, ...]) -> None:
    filters, warnings.showwarning, warnings.formatwarning = noted
    warnings.resetwarnings()
    warnings.filters[:] = filters  # type: ignore[index]


def _builtins() -> Aspect:
    builtin_names.note()
    # They are restored already, by the caller of the job.
    return Aspect("builtins", builtin_names.are_whole, lambda _: builtin_names.acknowledge())


def _modules() -> Aspect:
    """Restore modules of the standard library and of the runner that a job removed or set to None.

    A replaced module stays: some libraries replace modules once and for all.
    """
    table = sys.modules
    roots = {*sys.stdlib_module_names, *_OWN_MODULES}
    kept = {name: module for name, module in table.items() if module is not None and name.partition(".")[0] in roots}
    # Only packages and modules are checked, and not their content, which would take five times as long.
    of_packages = itemgetter(*(name for name in kept if "." not in name and not name.startswith("_")))

    def read() -> bool:
        try:
            return sys.modules is table and all(of_packages(table))
        except KeyError:
            return False

    def write(_: bool) -> None:
        sys.modules = table
        table.update({name: module for name, module in kept.items() if table.get(name) is None})

    return Aspect("sys.modules", read, write)


def _import_system() -> Aspect:
    lists = {name: getattr(sys, name) for name in ("path", "meta_path", "path_hooks")}
    path, meta_path, path_hooks = lists.values()
    kept = [list(entries) for entries in lists.values()]

    def read() -> bool:
        try:
            same = sys.path is path and sys.meta_path is meta_path and sys.path_hooks is path_hooks
        except AttributeError:
            return False
        return same and [path, meta_path, path_hooks] == kept

    def write(_: bool) -> None:
        for (name, entries), content in zip(lists.items(), kept, strict=True):
            entries[:] = content
            setattr(sys, name, entries)

    return Aspect("sys.path", read, write)


def _attribute(home: Any, name: str, *, is_logged: bool) -> Aspect:
    def write(noted: Any) -> None:
        if noted is _MISSING:
            delattr(home, name)
        else:
            setattr(home, name, noted)

    where = getattr(home, "__name__", type(home).__name__)
    if isinstance(home, ModuleType):
        # Otherwise a missing attribute creates a short-lived exception.
        read: Callable[[], Any] = partial(vars(home).get, name, _MISSING)
    else:
        read = partial(getattr, home, name, _MISSING)
    return Aspect(f"{where}.{name}", read, write, is_logged)


def _logging() -> Aspect:
    loggers = Loggers()
    return Aspect("logging", loggers.are_whole, lambda _: loggers.put_back())


class Environment:
    """The environment variables of this process: Python's mapping and the C library's array behind it."""

    def __init__(self) -> None:
        self._object: Any = os.environ
        self._data: dict[bytes, bytes] = dict(vars(os.environ)["_data"])
        self._behind = _variables()
        self._array = _Array()

    def fill(self, env: Mapping[str, str]) -> None:
        """Set variables for a run."""
        for name, value in env.items():
            os.environ[name] = value
        if "TZ" in env:
            time.tzset()

    def put_back(self) -> set[bytes]:
        """Restore the environment; return the names of the changed variables."""
        os.environ = self._object  # noqa: B003 - a job may have put another mapping there
        if _environ is not None and self._array.is_same():
            # Python's mapping is never changed without the C library's array.
            return set()
        data = self._object._data
        changed: set[bytes] = set()
        if data != self._data:
            names = data.keys() | self._data.keys()
            changed = {name for name in names if data.get(name) != self._data.get(name)}
            _set_variables({name: self._data.get(name) for name in changed})
            data.clear()
            data.update(self._data)
        if not self._array.is_same():
            behind = _variables()
            names = behind.keys() | self._behind.keys()
            wrong = {name for name in names if behind.get(name) != self._behind.get(name)}
            _set_variables({name: self._behind.get(name) for name in wrong})
            changed |= wrong
            self._array = _Array()
        return changed


def _set_variables(values: Mapping[bytes, bytes | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.unsetenv(name)
        else:
            os.putenv(name, value)


try:
    _environ: Any = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    _environ_address: Any = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ")
except (OSError, ValueError):
    # macOS does not expose it, so changes outside of Python are not noticed there.
    _environ = _environ_address = None


class _Array:
    """The addresses of the C library's variables; a new value has a new address."""

    def __init__(self) -> None:
        self._address = _place_of_array()
        self._size = (len(_pointers()) + 1) * ctypes.sizeof(ctypes.c_void_p)
        self._bytes = self._read()

    def is_same(self) -> bool:
        """Return whether no variable was set or deleted since this was created."""
        # Only read an array at the same address: a new array may be shorter.
        return _place_of_array() == self._address and self._read() == self._bytes

    def _read(self) -> bytes:
        return ctypes.string_at(self._address, self._size) if self._address else b""


def _place_of_array() -> int | None:
    """Return the address of the array; None if there is none or it is not accessible."""
    return None if _environ is None else _environ_address.value


def _pointers() -> list[int]:
    found: list[int] = []
    if _environ is None or not _environ:
        return found
    while (address := _environ[len(found)]) is not None:
        found.append(address)
    return found


def _variables() -> dict[bytes, bytes]:
    """Return the variables of the C library, which new programs inherit."""
    found = (ctypes.string_at(address).partition(b"=") for address in _pointers())
    return {name: value for name, equals, value in found if equals and name}


__all__ = ["OF_THE_POOL", "Aspect", "Environment", "aspects_of"]
