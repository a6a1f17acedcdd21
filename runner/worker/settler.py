"""Write the outcomes that the parent settles, outside of the main loop.

A lost child, a timeout, and a terminated run are settled once the process group is dead and Redis answers. Both may
take a while. Meanwhile the main loop goes on, and the lease is renewed until the outcome is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from celery.utils.log import get_logger

log = get_logger(__name__)


class Settler:
    """A thread that runs actions one after the other; it starts with the first one."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="runner-settle")
        self._mutex = threading.Lock()
        self._tokens: set[str] = set()

    @property
    def busy(self) -> bool:
        """Return whether an action is pending."""
        with self._mutex:
            return bool(self._tokens)

    def holds(self, token: str) -> bool:
        """Return whether an action for the attempt of this claim is pending."""
        with self._mutex:
            return token in self._tokens

    def do(self, tokens: Sequence[str], action: Callable[[], None]) -> None:
        """Queue ``action`` for the attempts of claims."""
        with self._mutex:
            self._tokens.update(tokens)
        self._threads.submit(action).add_done_callback(lambda future: self._done(tokens, future))

    def _done(self, tokens: Sequence[str], future: Future[None]) -> None:
        with self._mutex:
            self._tokens.difference_update(tokens)
        error = future.exception()
        if error is not None:
            log.error("an attempt could not be settled, its lease will run out", exc_info=error)
