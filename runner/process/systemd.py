"""Notify systemd that a worker is ready, alive, or stopping (``Type=notify``, ``WatchdogSec=``).

The protocol is that of sd_notify(3): datagrams to the socket that ``NOTIFY_SOCKET`` names. Without that variable,
nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(message: str) -> bool:
    """Send ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, or ``STATUS=…``; return whether systemd listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        # The abstract namespace, as systemd writes it.
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.sendto(message.encode(), address)
        return True
    return False


class Watchdog:
    """Sends keep-alive messages to systemd's watchdog, no more often than ``WatchdogSec=`` requires."""

    def __init__(self) -> None:
        self._every = _interval()
        self._next = 0.0

    def pet(self) -> None:
        """Send a keep-alive message if one is due."""
        if self._every is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            notify("WATCHDOG=1")


def _interval() -> float | None:
    """Return half of WatchdogSec in seconds; None if systemd does not watch this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
