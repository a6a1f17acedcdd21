"""Live reload: a running worker applies changes of its job files.

A thread reads the files. The main loop applies the changes, unless a run needs them sooner; see ``live_files.py``.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from celery import bootsteps
from celery.utils.log import get_logger

from runner.errors import RunnerError
from runner.ledger.specs import KEPT_SECONDS
from runner.triggers.watch import WatchThread
from runner.worker.celery_types import Consumer
from runner.worker.follow import follow
from runner.worker.state import WorkerState, state_of
from runner.worker.steps import Supervise

log = get_logger(__name__)

LOOK_SECONDS = 1.0
"""Seconds between two checks without a notification: the system does not report all changes."""

LOOK_SHARE = 20
"""With many files, checks may take a twentieth of the time."""

APPLY_SECONDS = 0.1
"""Seconds between two checks of the main loop for changes to apply."""

DRAIN_LOOK_SECONDS = 0.02
"""Seconds between two checks whether the worker is stopping."""


class Reload(bootsteps.StartStopStep):
    """Follows the job files while the worker runs."""

    requires = (Supervise,)

    def __init__(self, consumer: Consumer, **kwargs: object) -> None:
        super().__init__(consumer, **kwargs)
        self._threads: list[threading.Thread] = []
        self._watch: WatchThread | None = None
        self._ended = threading.Event()

    def start(self, consumer: Consumer) -> None:
        """Start the threads once, and let the main loop apply the changes."""
        state = state_of(consumer)
        if not self._threads:
            self._threads = [FollowJobs(state, self._ended)]
            app, settings = state.shared.app, state.shared.settings
            if settings.schedules:
                self._watch = WatchThread(app.open_ledger, lambda: app.catalog, state.shared.worker, log.info)
                self._threads.append(self._watch)
            if state.reload_code:
                self._threads.append(FollowCode(state, self._ended))
            for thread in self._threads:
                thread.start()
        if consumer.hub is not None:
            consumer.timer.call_repeatedly(APPLY_SECONDS, state.files.apply, ())

    def stop(self, consumer: Consumer) -> None:
        """Do nothing: files also change while the connection is lost."""

    def shutdown(self, consumer: Consumer) -> None:
        """End the threads."""
        self._ended.set()
        if self._watch is not None:
            self._watch.end()
        for thread in self._threads:
            thread.join(2.0)


class FollowJobs(threading.Thread):
    """Reads changed job files, and writes the jobs of this worker to the ledger."""

    def __init__(self, state: WorkerState, ended: threading.Event) -> None:
        super().__init__(name="runner-reload", daemon=True)
        self._settings = state.shared.settings
        self._files = state.files
        self._ended = ended
        self._ledger = state.shared.app.open_ledger()
        self._publish_at = 0.0

    def run(self) -> None:
        """Follow the files until the worker ends."""
        look_at = 0.0
        for changed in follow(self._settings.jobs_dir, self._ended):
            now = time.monotonic()
            if changed or self._files.unsettled or now >= look_at:
                try:
                    self._files.look()
                except Exception:
                    # Whatever is in a file, the jobs in force stay.
                    log.exception("files of jobs could not be read; what was read before stays in force")
                took = time.monotonic() - now
                look_at = time.monotonic() + max(LOOK_SECONDS, LOOK_SHARE * took)
            self._publish()

    def _publish(self) -> None:
        if time.monotonic() < self._publish_at and not self._files.unpublished:
            return
        try:
            self._files.publish(self._ledger)
            self._publish_at = time.monotonic() + KEPT_SECONDS / 4
            # Otherwise an idle connection would stay open until then.
            self._ledger.close()
        except RunnerError as error:
            log.debug("the jobs of this worker are published later: %s", error)
            self._publish_at = time.monotonic() + 1.0


class FollowCode(threading.Thread):
    """Restarts the worker when Python files change (``--reload-code``)."""

    def __init__(self, state: WorkerState, ended: threading.Event) -> None:
        super().__init__(name="runner-reload-code", daemon=True)
        self._state = state
        self._ended = ended

    def run(self) -> None:
        """Follow the files until one changes."""
        from watchfiles import PythonFilter  # start-up time: for development alone

        folders = [path for path in self._state.shared.settings.python_path if path.is_dir()]
        for changed in follow(folders, self._ended, PythonFilter()):
            if changed:
                self._state.restart = True
                os.kill(os.getpid(), signal.SIGTERM)
                while not self._state.takers.board.head.draining and not self._ended.wait(DRAIN_LOOK_SECONDS):
                    pass
                # Logged once no more runs are taken, so that readers can rely on the new code from then on.
                log.warning("Python files changed: this worker restarts when its runs have ended")
                return
