"""Stop the server, without ever signaling another process that reuses its id."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from runner.embedded import locks, state
from runner.embedded.client import Busy, Client, NoAnswer, pid_alive
from runner.embedded.place import LOCK_PATIENCE, STOP_TIMEOUT, Place, existing
from runner.errors import Unavailable

_UNTIL_SIGNAL = 2.0
"""Seconds after which a server that did not follow SHUTDOWN gets SIGTERM."""


def stop(folder: Path) -> bool:
    """Stop the server of ``folder`` once its data is on disk; return whether one was running.

    Raises:
        Unavailable: it does not end, or it belongs to another user.
    """
    place = existing(folder)
    if place is None:
        return False
    with locks.held(place.start_lock, seconds=LOCK_PATIENCE):
        pids = _ask_to_end(place)
        _wait_until_ended(pids, place)
        with locks.opened(place.lock) as descriptor:
            # The next start finds the lock free, because the last of its files is closed.
            locks.take(descriptor, place.lock, seconds=1.0)
        Path(place.socket).unlink(missing_ok=True)
        state.retire(place.folder)
    return bool(pids)


def _ask_to_end(place: Place) -> list[int]:
    """Ask the server to end; return its process id from the kernel and not from a file."""
    try:
        with Client(place.socket) as client:
            pid = client.peer_pid()
            with suppress(Busy, NoAnswer, OSError):
                # macOS does not always report the other end.
                pid = pid or int(client.info()["process_id"])
            client.shutdown()
            return [pid] if pid else place.lock_holders()
    except OSError:
        # There is no socket, or nobody listens; the server may still be running if its socket was deleted.
        pids = place.lock_holders()
        _signal(pids)
        return pids


def _wait_until_ended(pids: list[int], place: Place) -> None:
    begun = time.monotonic()
    signaled = False
    while any(pid_alive(pid) for pid in pids):
        passed = time.monotonic() - begun
        if passed > STOP_TIMEOUT:
            raise Unavailable(
                f"the embedded server (process {pids[0]}) does not end", hint=f"kill {pids[0]}; its log is {place.log}"
            )
        if passed > _UNTIL_SIGNAL and not signaled:
            signaled = True
            _signal(pids)
        time.sleep(0.002)


def _signal(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
