"""The log of ``runner web``, on stderr. Clients cannot flood it: records from one source are limited."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from dataclasses import dataclass

BURST = 10
"""How many records of one line of code are written within :data:`WINDOW_SECONDS`; the rest are counted."""
WINDOW_SECONDS = 60.0
MOST_SOURCES = 1000


@dataclass(slots=True)
class _Source:
    begin: float
    written: int = 0
    left_out: int = 0


class RateLimit(logging.Filter):
    """Limits the records from each source, and adds to the next record how many were left out.

    It writes nothing about a request that was cancelled.

    A source is a line of code and the type of the exception, since messages differ by address.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[tuple[object, ...], _Source] = {}
        self._mutex = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record."""
        error = record.exc_info[0] if record.exc_info else None
        if error is asyncio.CancelledError:
            # The server that ends gives up the requests that are left. Uvicorn has said how many.
            return False
        # asyncio reports all errors of an event loop from one line of code.
        message = record.getMessage().partition("\n")[0][:80] if record.name == "asyncio" else ""
        key = (record.name, record.pathname, record.lineno, error, message)
        now = time.monotonic()
        with self._mutex:
            source = self._sources.get(key)
            if source is None or now - source.begin > WINDOW_SECONDS:
                left_out = source.left_out if source is not None else 0
                self._sources.pop(key, None)
                source = self._sources[key] = _Source(now)
                if len(self._sources) > MOST_SOURCES:
                    del self._sources[next(iter(self._sources))]
                if left_out:
                    record.msg = f"{record.getMessage()} ({left_out:,} more like this were left out)"
                    record.args = ()
            if source.written < BURST:
                source.written += 1
                return True
            source.left_out += 1
        return False


def set_up_log() -> None:
    """Write warnings of all libraries, and every action of a person, to stderr."""
    form = logging.Formatter("[%(asctime)s] %(levelname)s %(name)s: %(message)s")
    limited, everything = logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stderr)
    limited.addFilter(RateLimit())
    for handler in (limited, everything):
        handler.setFormatter(form)
    root = logging.getLogger()
    root.handlers[:] = [limited]
    root.setLevel(logging.WARNING)
    audit = logging.getLogger("runner.audit")
    audit.handlers[:] = [everything]
    audit.setLevel(logging.INFO)
    audit.propagate = False
