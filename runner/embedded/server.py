"""The three things that can be asked of the embedded server: serve, tell, stop."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from runner.embedded import locks, state
from runner.embedded.client import Busy, Client, NoAnswer, pid_alive
from runner.embedded.place import Place, existing, prepare
from runner.embedded.start import START_TIMEOUT, STOP_TIMEOUT, start
from runner.embedded.state import ServerInfo
from runner.errors import InvalidSettings, Unavailable
from runner.settings import Settings

_LOCK_PATIENCE = START_TIMEOUT + STOP_TIMEOUT
_UNTIL_SIGNAL = 2.0
"""Seconds after which a server that did not follow SHUTDOWN gets SIGTERM."""


def serve(settings: Settings) -> str:
    """Return the URL of the project's server, after starting it if it does not run.

    Raises:
        Unavailable: it can not be started; the message says why, the hint what to do.
        InvalidSettings: ``RUNNER_EMBEDDED=0`` forbids it.
    """
    _allow(settings)
    found = state.read_running(settings.state_dir)
    if found is None:
        place = prepare(settings.state_dir)
        with locks.held(place.start_lock, seconds=_LOCK_PATIENCE):
            # Another command may have started it while this one waited.
            found = state.read_running(settings.state_dir) or start(place)
    return found.url


def running(settings: Settings) -> ServerInfo | None:
    """Return what is known of the running server, or None. Starts nothing."""
    return state.read_running(settings.state_dir)


def stop(settings: Settings) -> bool:
    """Stop the server once its data is on disk; return whether one was running.

    Raises:
        Unavailable: it does not end, or it is another user's.
    """
    place = existing(settings.state_dir)
    if place is None:
        return False
    with locks.held(place.start_lock, seconds=_LOCK_PATIENCE):
        pids = _ask_to_end(place)
        _wait_until_ended(pids, place)
        Path(place.socket).unlink(missing_ok=True)
        state.retire(place.folder)
    return bool(pids)


def _allow(settings: Settings) -> None:
    if not settings.embedded_allowed:
        raise InvalidSettings(
            "redis_url is embedded, and RUNNER_EMBEDDED=0 forbids the embedded server",
            hint="write the URL of your Redis into redis_url or RUNNER_REDIS_URL, or unset RUNNER_EMBEDDED",
        )


def _ask_to_end(place: Place) -> list[int]:
    """Ask the server to end; return its process id, as the kernel says it and no file."""
    try:
        with Client(place.socket) as client:
            pid = client.peer_pid()
            with suppress(Busy, NoAnswer, OSError):
                # macOS does not always name the other end.
                pid = pid or int(client.info()["process_id"])
            client.shutdown()
            return [pid] if pid else place.lock_holders()
    except OSError:
        # No socket, or nobody behind it; the server may live all the same if its socket was deleted.
        pids = place.lock_holders()
        _signal(pids)
        return pids


def _wait_until_ended(pids: list[int], place: Place) -> None:
    begun = time.monotonic()
    signalled = False
    while any(pid_alive(pid) for pid in pids):
        passed = time.monotonic() - begun
        if passed > STOP_TIMEOUT:
            raise Unavailable(
                f"the embedded server (process {pids[0]}) does not end", hint=f"kill {pids[0]}; its log is {place.log}"
            )
        if passed > _UNTIL_SIGNAL and not signalled:
            signalled = True
            _signal(pids)
        time.sleep(0.002)


def _signal(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
