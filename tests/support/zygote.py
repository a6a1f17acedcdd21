"""Command-line processes that start in milliseconds: forked from a process that has already imported the code.

The suite starts ``python -m runner`` thousands of times, and such a process spends most of its time on the same
imports. Each test process therefore keeps *zygotes*: single-threaded processes that have imported the command line,
and some of them also a worker or the web interface. A zygote forks a copy for each command. The copy looks like a
separate process in every way that a test can see: pid, session, working folder, environment, standard streams,
signals, exit code. Tests that need a new interpreter start one; see :func:`can_fork`.

The protocol, over a socket pair: a length of four bytes, with four descriptors (stdin, stdout, stderr, and a pipe for
the exit status), then JSON: ``{"module", "args", "cwd", "env", "session", "files"}``. The answer is the pid, as text.
When the process has ended, the status from ``waitpid`` is written to the pipe.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.util
import io
import json
import os
import pkgutil
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

from tests.support.command import CELERY, COMMAND, clean_environment

_MOST = 1 << 20
_SETTLED = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_", "GLIBC_")
"""The prefixes of variables that an interpreter reads at its start."""
_READ_AGAIN = ("PYTHONTZPATH",)
"""The variables that a forked process reads again."""

ROOMS = ("worker", "web")
"""Imports that take long and that only the command of the same name needs: Celery, and a web server."""


def can_fork(env: Mapping[str, str]) -> bool:
    """Return whether a forked process would behave like a new one in this environment.

    A variable that Python or the C library reads at its start must have the same value as in this process.
    """
    if os.name != "posix" or not hasattr(socket, "send_fds"):
        return False

    def settled(environment: Mapping[str, str]) -> dict[str, str]:
        kept = environment.items()
        return {name: value for name, value in kept if name.startswith(_SETTLED) and name not in _READ_AGAIN}

    return settled(env) == settled(clean_environment())


def what_is_forked(command: Sequence[str]) -> tuple[str, str]:
    """Return the module of a command, and the room that it needs; two empty texts if it must not be forked.

    Only the command line is forked, and Celery's own with the app of the project. Other apps import arbitrary modules.
    """
    if list(command[: len(COMMAND)]) == COMMAND:
        return "runner", command[3] if command[3] in ROOMS else ""
    return ("celery", "worker") if list(command[:5]) == CELERY else ("", "")


class Forked:
    """A process of the command line, with the part of ``subprocess.Popen`` that tests use.

    Args:
        args: the arguments of ``runner``.
        cwd: the working folder.
        env: the whole environment; see :func:`can_fork`.
        stdin: a descriptor; None for a pipe.
        session: whether the process leads its own session.
        room: one of :data:`ROOMS`, imported in addition to the command line. Only for the command of this name, or for
            ``celery``: no other command needs it.
        module: the module to run, as with ``python -m``: ``runner`` or ``celery``.
        files: the maximum number of open file descriptors, like ``ulimit -n`` in a shell.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | None = None,
        session: bool = False,
        room: str = "",
        module: str = "runner",
        files: int | None = None,
    ) -> None:
        self.args = list(args)
        self.returncode: int | None = None
        self._mutex = threading.Lock()
        ours, theirs = [], []
        try:
            for _ in ("stdout", "stderr", "status"):
                read, write = os.pipe()
                ours.append(read)
                theirs.append(write)
            own_stdin = -1
            if stdin is None:
                read, own_stdin = os.pipe()
                theirs.append(read)
                stdin = read
            request = {
                "module": module,
                "args": self.args,
                "cwd": str(cwd),
                "env": dict(env),
                "session": session,
                "files": files,
            }
            self.pid = _Zygote.shared(room).fork(request, [stdin, *theirs[:3]])
        except BaseException:
            for end in ours:
                os.close(end)
            raise
        finally:
            for end in theirs:
                os.close(end)
        self.stdin: IO[bytes] | None = os.fdopen(own_stdin, "wb") if own_stdin >= 0 else None
        self.stdout: IO[bytes] = os.fdopen(ours[0], "rb")
        self.stderr: IO[bytes] = os.fdopen(ours[1], "rb")
        self._status = ours[2]

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that killed it), or None while it runs."""
        return self._wait(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def _wait(self, timeout: float | None) -> int | None:
        end = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if end is None else max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._status], [], [], left if left is None else min(left, 0.5))
            with self._mutex:
                if self.returncode is None and ready:
                    status = os.read(self._status, 32)
                    os.close(self._status)
                    # There is no status if the zygote itself has died, which only happens in a test of the tests.
                    self.returncode = os.waitstatus_to_exitcode(int(status)) if status else -signal.SIGKILL
            if self.returncode is None and end is not None and time.monotonic() >= end:
                return None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write ``input`` to stdin, and return stdout and stderr when it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds; it is not ended.
        """
        found: dict[str, bytes] = {}
        threads = [
            threading.Thread(target=lambda name=name, stream=stream: found.update({name: stream.read()}), daemon=True)
            for name, stream in (("out", self.stdout), ("err", self.stderr))
        ]
        if self.stdin is not None:
            threads.append(threading.Thread(target=self._feed, args=(input or b"",), daemon=True))
        end = None if timeout is None else time.monotonic() + timeout
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        return found["out"], found["err"]

    def _feed(self, text: bytes) -> None:
        assert self.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.stdin:
            self.stdin.write(text)

    def close(self) -> None:
        """Close the pipes."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class _Zygote:
    """A zygote of this test process, from the view of this process."""

    _made: ClassVar[dict[str, _Zygote]] = {}
    _making = threading.Lock()
    _folder: ClassVar[Path | None] = None
    """The folder of the sockets of shared zygotes, which another test process has started; see :func:`share`."""

    def __init__(self, end: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        self._socket, self._process = end, process
        self._mutex = threading.Lock()

    @classmethod
    def start(cls, room: str, env: Mapping[str, str], listener: socket.socket | None = None) -> _Zygote:
        """Start a zygote."""
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = [theirs, *([listener] if listener else [])]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.zygote", room, *(str(sock.fileno()) for sock in inherited)],
                cwd=Path(__file__).parents[2],
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=[sock.fileno() for sock in inherited],
            )
        return cls(ours, process)

    @classmethod
    def shared(cls, room: str) -> _Zygote:
        """Return a zygote of this process; it is started when first needed, and ends with this process."""
        with cls._making:
            if room not in cls._made:
                if cls._folder is None:
                    cls._made[room] = cls.start(room, clean_environment())
                else:
                    end = socket.socket(socket.AF_UNIX)
                    end.connect(str(_place(cls._folder, room)))
                    cls._made[room] = cls(end, None)
                atexit.register(stop)
            return cls._made[room]

    def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """Fork a process and return its pid."""
        with self._mutex:
            text = json.dumps(request).encode(errors="surrogateescape")
            socket.send_fds(self._socket, [len(text).to_bytes(4, "big")], list(descriptors))
            self._socket.sendall(text)
            return int(self._socket.recv(32))

    def stop(self) -> None:
        """End the zygote, or leave it to the processes that share it; its forked processes continue."""
        self._socket.close()
        if self._process is not None:
            self._process.wait()


@contextlib.contextmanager
def share(folder: Path, extra: Mapping[str, str]) -> Iterator[None]:
    """Start all zygotes now, for processes that are forked from this one within the ``with``.

    Args:
        folder: the folder for their sockets.
        extra: additional environment variables for them.
    """
    made = []
    for room in ("", *ROOMS):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(_place(folder, room)))
            listener.listen(64)
            made.append(_Zygote.start(room, clean_environment(extra), listener))
    _Zygote._folder = folder
    try:
        yield
    finally:
        _Zygote._folder = None
        for zygote in made:
            zygote.stop()


def _place(folder: Path, room: str) -> Path:
    return folder / f"zygote-{room}"


def stop() -> None:
    """End the zygotes of this process."""
    with _Zygote._making:
        while _Zygote._made:
            _Zygote._made.popitem()[1].stop()


# -- the zygote itself


def serve(room: str, first: socket.socket, listener: socket.socket | None = None) -> None:
    """Fork a process for each request until the first connection ends."""
    _import_everything(["archive", "cli", "actions", *([room] if room else [])])
    assert room == "worker" or "celery" not in sys.modules, "only a worker imports Celery"
    # Otherwise each command would read its scripts, and each worker all of them.
    importlib.import_module("runner.ledger.scripts").read_all()
    gc.freeze()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake)
    pipes: dict[int, int] = {}
    connections = [first]
    while True:
        watched: list[Any] = [woken, *connections, *([listener] if listener else [])]
        ready, _, _ = select.select(watched, [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report(pipes)
        if listener is not None and listener in ready:
            connections.append(listener.accept()[0])
        for connection in [connection for connection in connections if connection in ready]:
            size, descriptors, _, _ = socket.recv_fds(connection, 4, 4)
            if not size:
                if connection is first:
                    return
                connections.remove(connection)
                connection.close()
                continue
            text = b""
            while len(text) < int.from_bytes(size, "big"):
                text += connection.recv(_MOST)
            *streams, pipe = descriptors
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for descriptor in (woken, wake, pipe, *pipes.values()):
                    os.close(descriptor)
                for other in (*([listener] if listener else []), *connections):
                    if other is not connection:
                        other.close()
                request = json.loads(text)
                try:
                    _set_up(request, streams)
                finally:
                    # Answer now, like Popen, which returns once the new program runs: its session can already be found.
                    connection.sendall(str(os.getpid()).encode())
                    connection.close()
                _become(request["module"], request["args"])
            for stream in streams:
                os.close(stream)
            pipes[pid] = pipe


def _report(pipes: dict[int, int]) -> None:
    while pipes:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        pipe = pipes.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(pipe, str(status).encode())
        os.close(pipe)


def _set_up(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Set the session, streams, environment, and working folder of a new process."""
    if request["session"]:
        os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["files"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (request["files"], request["files"]))
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    zoneinfo.reset_tzpath()
    os.chdir(request["cwd"])
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        old = getattr(sys, name)
        stream = io.TextIOWrapper(
            open(number, mode + "b", closefd=False),  # noqa: SIM115 - one of the standard streams
            encoding=old.encoding,
            errors=old.errors,
            line_buffering=name == "stderr",
            write_through=False,
        )
        stream.mode = mode  # type: ignore[misc]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _become(module: str, args: list[str]) -> None:
    """Run a module like ``python -m MODULE ARGS``."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path[0] = str(Path.cwd())
    found = importlib.util.find_spec(f"{module}.__main__")
    assert found is not None
    sys.argv = [str(found.origin), *args]
    sys.orig_argv[:] = [sys.executable, "-m", module, *args]
    code: Any = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException as error:  # noqa: BLE001 - whatever nobody caught is shown, as an interpreter does
        sys.excepthook(type(error), error, error.__traceback__)
    _leave(code)


def _leave(code: Any) -> None:
    """End like an interpreter, but without the time for freeing every object of every module."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    failed = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            failed = True
    # Like Python when it cannot write the printed output.
    os._exit(120 if failed else code or 0)


def _import_everything(rooms: Sequence[str]) -> None:
    for room in rooms:
        package = importlib.import_module(f"runner.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"runner.{room}."):
            importlib.import_module(module.name)


if __name__ == "__main__":
    serve(sys.argv[1], *(socket.socket(fileno=int(arg)) for arg in sys.argv[2:]))
