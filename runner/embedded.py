"""The private server of a project: a Valkey or Redis that lives in ``.runner/`` and serves one folder.

Started when first needed, found by every later command, stopped by ``runner down``. Three things carry this:

- The *socket* tells whether a server is there; recorded process ids are for people. A signal is only sent to the
  process that the kernel names as the other end of the socket, or as a holder of the lock.
- ``start.lock`` is held while somebody starts or stops the server, so that two commands do not do it at once.
- ``server.lock`` is held by the server itself for its whole life (it inherits the descriptor): two servers never
  write the same data, even if a socket was deleted or a process id was used again.

Durability: every write is in the append-only file before it is answered, and reaches the disk within a second
(``appendfsync everysec``). So killing the server loses nothing that was answered, except behind a disk that is
busy for over a second; losing power can lose the last second. ``always`` would cost a disk flush per command.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from runner.embedded_client import Busy, Client, NoAnswer, pid_alive
from runner.embedded_place import Place, find_program, prepare
from runner.errors import InvalidSettings, Unavailable
from runner.settings import Settings

START_TIMEOUT = 60.0
"""Seconds in which a server must answer; loading a large append-only file takes a few of them."""
STOP_TIMEOUT = 20.0
"""Seconds in which a server must have ended after it was asked to."""
_LARGEST_LOG = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What ``server.json`` holds of a running server."""

    pid: int
    socket: str
    version: str
    program: str
    started_at: str

    @property
    def url(self) -> str:
        """The server's URL as redis-py reads it."""
        return f"unix://{self.socket}"


def serve(settings: Settings) -> str:
    """Return the URL of the project's server, after starting it if it does not run.

    Raises:
        Unavailable: it can not be started; the message says why, the hint what to do.
        InvalidSettings: ``RUNNER_EMBEDDED=0`` forbids it.
    """
    _allow(settings)
    found = _running(settings.state_dir)
    if found is not None:
        return found.url
    place = prepare(settings.state_dir)
    with _locked(place):
        found = _running(settings.state_dir)
        return (found or _Start(place).server()).url


def running(settings: Settings) -> ServerInfo | None:
    """Return what is known of the running server, or None. Starts nothing."""
    _allow(settings)
    return _running(settings.state_dir)


def stop(settings: Settings) -> bool:
    """Stop the server after it has written all its data; return whether one was running.

    Raises:
        Unavailable: it did not end in time, or this user may not stop it.
    """
    if not settings.state_dir.is_dir():
        return False
    place = prepare(settings.state_dir)
    with _locked(place):
        return _stop(place)


def _allow(settings: Settings) -> None:
    if not settings.embedded_allowed:
        raise InvalidSettings(
            "redis_url is embedded, and RUNNER_EMBEDDED=0 forbids the embedded server",
            hint="write the URL of your Redis into redis_url or RUNNER_REDIS_URL, or unset RUNNER_EMBEDDED",
        )


def _running(state_dir: Path) -> ServerInfo | None:
    # This is on the way of every command: one small file, one connect, no question to the server.
    try:
        server = ServerInfo(**json.loads((state_dir / "server.json").read_bytes()))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(server.socket)
        if Path(server.socket).stat().st_uid != os.geteuid():
            return None
    except (OSError, ValueError, TypeError):
        # Not there, dead, from another version, or not ours to look at: `prepare` tells the last from the rest.
        return None
    return server


@contextmanager
def _locked(place: Place) -> Iterator[None]:
    descriptor = os.open(place.folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _wait_for_lock(descriptor, START_TIMEOUT + STOP_TIMEOUT, place)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, seconds: float, place: Place) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"another command holds {place.folder / 'start.lock'} for over {seconds:.0f} s",
                    hint=f"end it: fuser -v {place.folder / 'start.lock'} names it",
                ) from None
            time.sleep(0.01)
        except OSError as error:
            raise Unavailable(
                f"{place.folder} is on a file system without locks: {error.strerror}",
                hint="keep the project on a local disk, or set redis_url to a Redis of your own",
            ) from error


class _Start:
    """One start of a server; ``start.lock`` is held."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log_begin = 0

    def server(self) -> ServerInfo:
        """Start the server, or take over one that is up without a sound ``server.json``."""
        previous = self._retire()
        descriptor = os.open(self.place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                survivor = self._survivor()
                if survivor is not None:
                    return survivor
                _wait_for_lock(descriptor, STOP_TIMEOUT, self.place)
            return self._launch(descriptor, previous)
        finally:
            os.close(descriptor)

    def _retire(self) -> dict[str, object]:
        """Put an old ``server.json`` aside, so that nobody takes a server that still loads for a ready one."""
        last = self.place.folder / "last-server.json"
        with suppress(FileNotFoundError):
            (self.place.folder / "server.json").replace(last)
        try:
            previous = json.loads(last.read_bytes())
            return previous if isinstance(previous, dict) else {}
        except (OSError, ValueError):
            return {}

    def _survivor(self) -> ServerInfo | None:
        """Take over a server that lives though its starter did not finish; end one that can't be reached."""
        try:
            with Client(self.place.socket) as client:
                return self._ready(client, time.monotonic() + START_TIMEOUT)
        except (OSError, NoAnswer):
            pass
        holders = self.place.lock_holders()
        if not holders:
            raise Unavailable(
                f"a server holds {self.place.lock}, and its socket {self.place.socket} can not be reached",
                hint="it may run in a container with the same folder; stop it there, or set redis_url",
            )
        for pid in holders:
            _signal(pid, signal.SIGTERM)
        return None

    def _launch(self, descriptor: int, previous: dict[str, object]) -> ServerInfo:
        program = find_program()
        self._turn_log()
        Path(self.place.socket).unlink(missing_ok=True)
        pid = self._spawn(program, descriptor)
        deadline = time.monotonic() + START_TIMEOUT
        pause = 0.002
        while time.monotonic() < deadline:
            try:
                with Client(self.place.socket) as client:
                    return self._ready(client, deadline, str(program))
            except (OSError, NoAnswer):
                if not pid_alive(pid):
                    raise self._failed(program, previous) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        raise Unavailable(
            f"the embedded server does not answer after {START_TIMEOUT:.0f} s: {self._log_tail()}",
            hint=f"it may still be loading its data, try again; its log is {self.place.log}",
        )

    def _ready(self, client: Client, deadline: float, program: str | None = None) -> ServerInfo:
        while True:
            try:
                facts = client.info()
                client.ping()
                break
            except Busy:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        "the embedded server is still loading its data",
                        hint=f"try again in a moment; its log is {self.place.log}",
                    ) from None
                time.sleep(0.02)
        server = ServerInfo(
            pid=int(facts["process_id"]),
            socket=self.place.socket,
            version=_version(facts),
            program=program or facts.get("executable", "unknown"),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        _write(self.place.folder / "server.json", json.dumps(asdict(server), indent=2) + "\n")
        return server

    def _turn_log(self) -> None:
        try:
            if self.place.log.stat().st_size > _LARGEST_LOG:
                self.place.log.replace(self.place.log.with_suffix(".log.1"))
            self.log_begin = self.place.log.stat().st_size
        except FileNotFoundError:
            self.log_begin = 0

    def _spawn(self, program: Path, descriptor: int) -> int:
        """Start the program in a session of its own and return its process id.

        A shell starts it and ends at once, so that the server belongs to init, and no command of ours has to wait
        for it when it dies.
        """
        options = {
            "port": "0",
            "unixsocket": self.place.socket,
            "unixsocketperm": "700",
            "dir": str(self.place.data),
            "logfile": str(self.place.log),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "always-show-logo": "no",
            "set-proc-title": "yes",
            "enable-debug-command": "no",
            "enable-module-command": "no",
            "stop-writes-on-bgsave-error": "no",
        }
        words = [str(program), *(word for name, value in options.items() for word in ("--" + name, value))]
        try:
            with self.place.log.open("ab") as log:
                started = subprocess.run(
                    ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    close_fds=True,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                    cwd=self.place.data,
                    umask=0o077,
                    env={"PATH": os.defpath, "LC_ALL": "C", "TZ": os.environ.get("TZ", "")},
                    timeout=START_TIMEOUT,
                    check=True,
                )
            return int(started.stdout)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise Unavailable(
                f"{program} can not be started: {error}", hint="set redis_url to a Redis of your own"
            ) from error

    def _log_tail(self) -> str:
        """Return what the server said last, in one line."""
        try:
            with self.place.log.open("rb") as log:
                log.seek(self.log_begin)
                lines = log.read(64 * 1024).decode("utf-8", "replace").splitlines()
        except OSError as error:
            return f"no log: {error.strerror}"
        told = [line.split(" ", 6)[-1].lstrip("#*-. ") for line in lines if line.strip()]
        fatal = [line for line, raw in zip(told, (line for line in lines if line.strip()), strict=True) if " # " in raw]
        said = [line for line in fatal if "WARNING" not in line.upper()] or told
        return "; ".join(said[-3:]) or "it said nothing"

    def _failed(self, program: Path, previous: dict[str, object]) -> Unavailable:
        said = self._log_tail()
        low = said.lower()
        hint = f"its log is {self.place.log}"
        written_by = previous.get("version")
        if "rdb format version" in low or "unsupported" in low or "unknown rdb" in low or "can't load" in low:
            hint = (
                f"the data was written by {written_by or 'a newer server'}"
                f" ({previous.get('program', 'unknown program')}), and {program} can not read it: install that one"
                f" again, or give the data up with: mv {self.place.data} {self.place.data}.old"
            )
        elif "no space left" in low:
            hint = f"free space on the disk of {self.place.data}"
        elif "bad file format" in low or "corrupt" in low or "aof" in low or "short read" in low:
            hint = (
                f"the data in {self.place.data} is damaged: valkey-check-aof --fix (or redis-check-aof) on its"
                f" .manifest repairs it, or give it up with: mv {self.place.data} {self.place.data}.old"
            )
        return Unavailable(f"the embedded server ended at its start: {said}", hint=hint)


def _stop(place: Place) -> bool:
    try:
        client = Client(place.socket)
    except OSError:
        pids = place.lock_holders()
    else:
        with client:
            pids = [client.peer_pid() or int(client.info()["process_id"])] if _answers(client) else []
            pids = pids or [pid for pid in [client.peer_pid()] if pid]
            client.shutdown()
    deadline = time.monotonic() + STOP_TIMEOUT
    asked = time.monotonic() + 1.0 if pids else deadline
    while any(pid_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the embedded server (process {pids[0]}) does not end", hint=f"its log is {place.log}; kill {pids[0]}"
            )
        if time.monotonic() > asked:
            asked = deadline
            for pid in pids:
                _signal(pid, signal.SIGTERM)
        time.sleep(0.005)
    Path(place.socket).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        (place.folder / "server.json").replace(place.folder / "last-server.json")
    return bool(pids)


def _answers(client: Client) -> bool:
    try:
        client.ping()
    except Busy:
        return True
    except (OSError, NoAnswer):
        return False
    return True


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _version(facts: dict[str, str]) -> str:
    if "valkey_version" in facts:
        return f"valkey {facts['valkey_version']}"
    return f"redis {facts.get('redis_version', 'unknown')}"


def _write(path: Path, text: str) -> None:
    """Replace a file in one step."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
