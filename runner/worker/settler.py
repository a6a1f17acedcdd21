"""Write the outcomes that the parent process settles, off the main loop.

A lost child, a timeout and a terminated run are settled once the process group is dead and Redis answers. Both
may take a while; the main loop goes on meanwhile, and the lease is renewed until it is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from celery.utils.log import get_logger

log = get_logger(__name__)


class Settler:
    """One thread that does one thing after the other; it starts with the first."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="runner-settle")
        self._mutex = threading.Lock()
        self._tokens: set[str] = set()

    @property
    def busy(self) -> bool:
        """Whether something is still to be written."""
        with self._mutex:
            return bool(self._tokens)

    def holds(self, token: str) -> bool:
        """Whether what became of the attempt of this claim is still to be written."""
        with self._mutex:
            return token in self._tokens

    def do(self, tokens: Sequence[str], action: Callable[[], None]) -> None:
        """Have ``action`` done, after all that was asked for before, for the attempts of claims."""
        with self._mutex:
            self._tokens.update(tokens)
        self._threads.submit(action).add_done_callback(lambda future: self._done(tokens, future))

    def _done(self, tokens: Sequence[str], future: Future[None]) -> None:
        with self._mutex:
            self._tokens.difference_update(tokens)
        error = future.exception()
        if error is not None:
            log.error("an attempt could not be settled, its lease will run out", exc_info=error)
