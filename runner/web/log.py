"""The log of ``runner web``, on stderr. Whatever a peer can cause again and again is written only so often."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import dataclass

BURST = 10
"""Records from one line of code that are written within :data:`WINDOW_SECONDS`; the rest are counted."""
WINDOW_SECONDS = 60.0
MOST_KINDS = 1000


@dataclass(slots=True)
class _Kind:
    begin: float
    written: int = 0
    left_out: int = 0


class Sparing(logging.Filter):
    """Lets the first records of a kind pass, and tells with the next one how many were left out meanwhile.

    A kind is a line of code and the type of its exception, since messages differ by address.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._mutex = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record."""
        error = record.exc_info[0] if record.exc_info else None
        # asyncio reports all that goes wrong in a loop from one line.
        message = record.getMessage().partition("\n")[0][:80] if record.name == "asyncio" else ""
        key = (record.name, record.pathname, record.lineno, error, message)
        now = time.monotonic()
        with self._mutex:
            kind = self._kinds.get(key)
            if kind is None or now - kind.begin > WINDOW_SECONDS:
                left_out = kind.left_out if kind is not None else 0
                self._kinds.pop(key, None)
                kind = self._kinds[key] = _Kind(now)
                if len(self._kinds) > MOST_KINDS:
                    del self._kinds[next(iter(self._kinds))]
                if left_out:
                    record.msg = f"{record.getMessage()} ({left_out:,} more like this were left out)"
                    record.args = ()
            if kind.written < BURST:
                kind.written += 1
                return True
            kind.left_out += 1
        return False


def set_up_log() -> None:
    """Write warnings of all libraries, and every act of a person, to stderr."""
    form = logging.Formatter("[%(asctime)s] %(levelname)s %(name)s: %(message)s")
    sparing, everything = logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stderr)
    sparing.addFilter(Sparing())
    for handler in (sparing, everything):
        handler.setFormatter(form)
    root = logging.getLogger()
    root.handlers[:] = [sparing]
    root.setLevel(logging.WARNING)
    audit = logging.getLogger("runner.audit")
    audit.handlers[:] = [everything]
    audit.setLevel(logging.INFO)
    audit.propagate = False
