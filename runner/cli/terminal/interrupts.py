"""Turns Ctrl-C and SIGTERM into exceptions that no destructor swallows."""

from __future__ import annotations

import signal
import sys
from typing import Any

_AGAIN_SECONDS = 0.01


class Terminated(BaseException):
    """SIGTERM came."""


def install() -> None:
    """Raise Terminated for SIGTERM, as KeyboardInterrupt is raised for Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _raise_again


def release() -> None:
    """Restore the default handling: a worker installs handlers of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.unraisablehook = sys.__unraisablehook__


def _terminate(*_: object) -> None:
    raise Terminated


def _raise_again(unraisable: Any) -> None:
    """Raise an interrupt again that came in a destructor, because Python drops exceptions there."""
    kind = unraisable.exc_type
    if kind is None or not issubclass(kind, Terminated | KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return

    def again(*_: object) -> None:
        raise kind

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
