"""Writes what the parent process has to say about attempts, off the main loop.

A lost child, a timeout and a terminated run are settled once the process group is dead and Redis answers. Both
may take a while; the main loop goes on meanwhile, and the lease is renewed until it is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from celery.utils.log import get_logger

log = get_logger(__name__)


class Settler:
    """One thread that does one thing after the other; it starts with the first."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="runner-settle")
        self._mutex = threading.Lock()
        self._pending = 0

    @property
    def busy(self) -> bool:
        """Whether something is still to be written."""
        with self._mutex:
            return self._pending > 0

    def do(self, action: Callable[[], None]) -> None:
        """Have ``action`` done, after all that was asked for before."""
        with self._mutex:
            self._pending += 1
        self._threads.submit(action).add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        with self._mutex:
            self._pending -= 1
        error = future.exception()
        if error is not None:
            log.error("an attempt could not be settled, its lease will run out", exc_info=error)
