"""The signals for terminating a running job; if it does not end, SIGKILL follows."""

from __future__ import annotations

import signal as signals

from runner.errors import UsageError

SIGNALS = ("TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2")


def signal_name(signal: str | int | None) -> str:
    """Return one of :data:`SIGNALS` for a name with or without ``SIG``, or for a number; TERM for None.

    Raises:
        UsageError: it is not one of these signals.
    """
    if signal is None:
        return "TERM"
    name = str(signal).upper().removeprefix("SIG")
    if isinstance(signal, int) and signal in {known.value for known in signals.Signals}:
        name = signals.Signals(signal).name.removeprefix("SIG")
    if name not in SIGNALS:
        raise UsageError(f"signal {signal!r} is not supported", hint=f"use one of {', '.join(SIGNALS)}")
    return name
