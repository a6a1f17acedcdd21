"""The state of a taker process: saved before its first run, and reset after each run.

So changes of a job, such as another working folder, do not reach the next run. A process that cannot be reset is
``spoiled``, and is replaced before the next run. An :class:`Aspect` is one part of the state
that is saved, compared, and reset. All aspects together take some tens of microseconds for each run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from operator import call
from typing import Any

from billiard.common import terminate_handler_fired
from celery.utils.log import get_logger

from runner.app.worker_log import about
from runner.attempt.aspects import OF_THE_POOL, Aspect, Environment, aspects_of
from runner.attempt.inherited import reseed_libraries
from runner.attempt.loggers import replace_held_locks
from runner.attempt.soft_limit import SoftLimit

log = get_logger(__name__)

TRIES = 3
"""The number of retries when a leftover signal handler of a job interrupts a reset."""


class ProcessState:
    """The state of this process before its first run, and the changes that each run made."""

    def __init__(self) -> None:
        self.spoiled: str | None = None
        """The reason why no other run may start in this process, or None."""
        self.used = False
        """Whether a run was performed in this process."""
        self.apart = False
        """Whether this process is for a single run."""
        self.soft_limit = SoftLimit()
        self._environment: Environment | None = None
        self._zone: object = None
        self._noted: list[tuple[Aspect, Any]] = []
        self._reads: list[Callable[[], Any]] = []
        self._values: list[Any] = []
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._changed: list[str] = []
        self._stuck: list[str] = []
        self._left: list[str] = []

    def renew(self) -> None:
        """Save the state again before the next run, because changes by the runner's own imports stay."""
        self._environment = None
        self._noted = []

    def note(self) -> None:
        """Save the state of this process unless it is saved."""
        if self._environment is None:
            self._environment, self._zone = Environment(), _zone()
        if not self._noted:
            noted = [(aspect, aspect.read()) for aspect in aspects_of()]
            self._reads = [aspect.read for aspect, _ in noted]
            self._values = [value for _, value in noted]
            self._threads.update(threading.enumerate())
            # Last: if a soft timeout interrupts this, the next run saves the state again.
            self._noted = noted

    def note_fork(self) -> None:
        """Save the state that differs in this fork; the rest is as saved by its parent."""
        self.apart = True
        self._noted = [(aspect, aspect.read() if aspect.own else noted) for aspect, noted in self._noted]
        self._values = [value for _, value in self._noted]

    @contextmanager
    def attempt(self, run_id: str, job: str, env: Mapping[str, str], changed: list[str]) -> Iterator[None]:
        """Set ``env`` for the block, then restore the environment, and log the changes that the run left behind.

        Args:
            run_id: the id of the run.
            job: the name of its job.
            env: the environment variables of the run.
            changed: the names of aspects that the block has restored itself; more are added.
        """
        if self._environment is None:
            self._environment, self._zone = Environment(), _zone()
        self._changed, self._stuck, self._left = changed, [], []
        self.used = True
        try:
            # Inside, because a soft timeout may come at any time, and nothing may stay for the next run.
            self._environment.fill(env)
            yield
        finally:
            _finish(partial(self._put_environment_back, env))
            if not self.apart:
                self._log_leftovers(run_id, job)

    def job(self, name: str) -> AbstractContextManager[None]:
        """Run a job's code in the block with its own ``sys.argv``; then restore everything but the environment."""
        return _Job(self, name)

    def end_job(self) -> None:
        """Undo the changes of a job's code."""
        _finish(self._put_back)

    def _put_back(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        for signum in OF_THE_POOL:
            # Python does not know a handler of this type.
            faulthandler.unregister(signum)
        if not self._is_whole():
            self._put_aspects_back()
        # A job may have seeded it, and the next one expects different numbers.
        reseed_libraries(used_ones=True)
        # The main thread is one of them.
        if threading.active_count() > 1:
            self._note_threads()

    def _is_whole(self) -> bool:
        """Return whether nothing has changed. This is the fast check, because most runs change nothing."""
        try:
            return list(map(call, self._reads)) == self._values
        except Exception:  # noqa: BLE001 - what reads one part may need another, such as an import
            return False

    def _put_aspects_back(self) -> None:
        for aspect, noted in self._noted:
            if aspect.read() == noted:
                continue
            for _ in range(TRIES):
                with contextlib.suppress(Exception):
                    aspect.write(noted)
                if aspect.read() == noted:
                    if aspect.is_logged:
                        _add(self._changed, aspect.name)
                    break
            else:
                _add(self._stuck, aspect.name)

    def _note_threads(self) -> None:
        if new := [thread for thread in threading.enumerate() if thread not in self._threads]:
            self._left = [thread.name for thread in new if not thread.daemon]
            self._threads.update(new)
        if replace_held_locks():
            _add(self._stuck, "locks of logging")

    def _put_environment_back(self, env: Mapping[str, str]) -> None:
        assert self._environment is not None
        changed = self._environment.put_back()
        if b"TZ" in changed or _zone() != self._zone:
            time.tzset()
        if changed and changed - {os.fsencode(name) for name in env}:
            _add(self._changed, "environment variables")

    def _log_leftovers(self, run_id: str, job: str) -> None:
        extra = about(run_id, job)
        if self._left:
            log.warning("run %s of %s left threads that go on: %s", run_id, job, ", ".join(self._left), extra=extra)
        if self._changed:
            log.info("run %s of %s left changed: %s; put back", run_id, job, ", ".join(self._changed), extra=extra)
        if self._stuck:
            self.spoiled = ", ".join(self._stuck)
            log.warning(
                "run %s of %s left changed: %s, which cannot be put back: its process is replaced",
                run_id,
                job,
                self.spoiled,
                extra=extra,
            )


class _Job:
    """The context manager of :meth:`ProcessState.job`; a generator would take twice as long."""

    def __init__(self, state: ProcessState, name: str) -> None:
        self._state, self._name = state, name

    def __enter__(self) -> None:
        self._state.note()
        self._argv, sys.argv = sys.argv, [self._name]

    def __exit__(self, *_: object) -> None:
        self._state.end_job()
        sys.argv = self._argv


def _finish(work: Callable[[], None]) -> None:
    """Run ``work`` to its end, even if a leftover signal handler of the job raises exceptions.

    Stop if the worker is ending this process.
    """
    for _ in range(TRIES):
        if terminate_handler_fired():
            return
        try:
            work()
        except BaseException:
            if terminate_handler_fired():
                raise
            _disarm()
        else:
            return
    work()


def _disarm() -> None:
    """Stop leftover timers of a job: a timer with a short interval would let nothing else finish."""
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        with contextlib.suppress(BaseException):
            signal.setitimer(timer, 0)


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _zone() -> tuple[Any, ...]:
    return time.timezone, time.altzone, time.daylight, time.tzname
