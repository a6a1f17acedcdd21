"""Start the server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from runner.embedded import locks, state
from runner.embedded.client import Busy, Client, NoAnswer, pid_alive
from runner.embedded.diagnosis import last_words, why_it_ended
from runner.embedded.place import LOCK_PATIENCE, START_TIMEOUT, STOP_TIMEOUT, Place, prepare
from runner.embedded.program import find_program
from runner.embedded.state import ServerInfo
from runner.errors import Unavailable

_LARGEST_LOG = 4 * 1024**2


def start(folder: Path) -> ServerInfo:
    """Start the server of ``folder`` unless another command has started it.

    Raises:
        Unavailable: it does not start; the message has the reason, and the hint the remedy.
    """
    place = prepare(folder)
    with locks.held(place.start_lock, seconds=LOCK_PATIENCE):
        # Another command may have started it while this one was waiting.
        return state.read_running(folder) or _start(place)


def _start(place: Place) -> ServerInfo:
    """Start the server, or take over a running one whose starting command did not finish."""
    state.retire(place.folder)
    with locks.opened(place.lock) as descriptor:
        if not locks.take(descriptor, place.lock, seconds=0):
            survivor = _survivor(place)
            if survivor is not None:
                return survivor
            if not locks.take(descriptor, place.lock, seconds=STOP_TIMEOUT):
                raise Unavailable(
                    f"a server holds {place.lock}, and does not answer at {place.socket}",
                    hint=f"stop it where it runs (a container with this folder?); fuser -v {place.lock} may tell",
                )
        return _launch(place, descriptor)


def _survivor(place: Place) -> ServerInfo | None:
    """Take over a server that holds the lock; end one that cannot be reached because its socket was deleted."""
    with suppress(OSError, NoAnswer), Client(place.socket) as client:
        return _ready(place, client, time.monotonic() + START_TIMEOUT)
    for pid in place.lock_holders():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return None


def _launch(place: Place, descriptor: int) -> ServerInfo:
    program = find_program()
    log_begin = _turn_log(place)
    Path(place.socket).unlink(missing_ok=True)
    pid = _spawn(program, place, descriptor)
    deadline = time.monotonic() + START_TIMEOUT
    pause = 0.002
    while time.monotonic() < deadline:
        # Checked first, because the server may bind its socket and end between the two.
        alive = pid_alive(pid)
        with suppress(OSError, NoAnswer), Client(place.socket) as client:
            return _ready(place, client, deadline, str(program))
        if not alive:
            raise why_it_ended(place, log_begin, program, state.last(place.folder))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    raise Unavailable(
        f"the embedded server does not answer after {START_TIMEOUT:.0f} s: {last_words(place, log_begin)}",
        hint=f"it may still be loading its data, try again; its log is {place.log}",
    )


def _ready(place: Place, client: Client, deadline: float, program: str | None = None) -> ServerInfo:
    """Wait until the data is loaded, then write ``server.json``."""
    while True:
        try:
            client.ping()
            break
        except Busy:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "the embedded server is still loading its data",
                    hint=f"try again in a moment; its log is {place.log}",
                ) from None
            time.sleep(0.02)
    facts = client.info()
    is_valkey = "valkey_version" in facts
    server = ServerInfo(
        pid=int(facts["process_id"]),
        socket=place.socket,
        version=f"valkey {facts['valkey_version']}" if is_valkey else f"redis {facts.get('redis_version', '?')}",
        program=program or facts.get("executable", "?"),
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
    state.write(place.folder, server)
    return server


def _turn_log(place: Place) -> int:
    """Rotate a long log; return the position in the log where this start begins (bytes)."""
    with suppress(FileNotFoundError):
        if place.log.stat().st_size > _LARGEST_LOG:
            place.log.replace(place.log.with_suffix(".log.1"))
    with suppress(FileNotFoundError):
        return place.log.stat().st_size
    return 0


def _spawn(program: Path, place: Place, descriptor: int) -> int:
    """Start the program in its own session and return its process id.

    A shell starts it and exits at once: the server then belongs to init, and none of our processes has to reap it. It
    inherits only the descriptor of ``server.lock``, which it keeps open until it ends.
    """
    options = {
        "port": "0",
        "unixsocket": place.socket,
        "unixsocketperm": "700",
        "dir": str(place.data),
        "logfile": str(place.log),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "always-show-logo": "no",
    }
    words = [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]
    environment = {name: os.environ[name] for name in ("TZ", "LD_LIBRARY_PATH") if name in os.environ}
    try:
        with place.log.open("ab") as log:
            started = subprocess.run(
                ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                close_fds=True,
                pass_fds=(descriptor,),
                start_new_session=True,
                cwd=place.data,
                umask=0o077,
                env={"PATH": os.defpath, "LC_ALL": "C", **environment},
                timeout=START_TIMEOUT,
                check=True,
            )
        return int(started.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"{program} cannot be started: {error}", hint="set redis_url to a Redis of your own"
        ) from error
