"""Copy finished runs to the archive, in a separate thread of the worker."""

from __future__ import annotations

import threading

from celery import bootsteps
from celery.utils.log import get_logger

from runner.attempt.state import SharedState
from runner.worker.celery_types import Consumer
from runner.worker.state import state_of
from runner.worker.steps import Supervise

log = get_logger(__name__)

END_SECONDS = 2.0
"""Seconds that a stopping worker waits for the current batch; an unfinished batch is copied again."""


class Archiving(bootsteps.StartStopStep):
    """Copies while the worker runs, also while its connection is lost."""

    requires = (Supervise,)

    def __init__(self, consumer: Consumer, **kwargs: object) -> None:
        super().__init__(consumer, **kwargs)
        self._thread: CopyThread | None = None

    def include_if(self, consumer: Consumer) -> bool:
        """Return whether this worker copies."""
        settings = state_of(consumer).shared.settings
        return settings.archive_url is not None and settings.worker.archive

    def start(self, consumer: Consumer) -> None:
        """Start the thread once."""
        if self._thread is None:
            self._thread = CopyThread(state_of(consumer).shared)
            self._thread.start()

    def stop(self, consumer: Consumer) -> None:
        """Do nothing: runs also end while the connection is lost."""

    def shutdown(self, consumer: Consumer) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.end()
            self._thread.join(END_SECONDS)


class CopyThread(threading.Thread):
    """Copies until it is ended. If the database hangs, only this thread waits for it."""

    def __init__(self, shared: SharedState) -> None:
        super().__init__(name="runner-archive", daemon=True)
        self._shared = shared
        self._over = threading.Event()

    def end(self) -> None:
        """Tell the thread to end soon."""
        self._over.set()

    def run(self) -> None:
        """Copy until :meth:`end` is called."""
        from runner.archive.follow import Follower  # start-up time: most projects have no archive

        shared = self._shared
        follower = Follower(
            shared.app.open_ledger, shared.worker, log.info, lambda: not self._over.is_set(), warn=log.warning
        )
        pause = 0.0
        while not self._over.wait(pause):
            pause = follower.step()
        follower.close()
