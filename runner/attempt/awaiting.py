"""Finish the unfinished values that jobs return: run awaitables to their end, and refuse generators."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from runner.attempt.forks import ending_forks

_OF_GENERATORS = (contextlib._GeneratorContextManager, contextlib._AsyncGeneratorContextManager)

_PLAIN = frozenset({bool, dict, float, int, list, str, tuple})

SOFT_TIMEOUT = signal.SIGUSR1
"""The signal to a child whose run has reached its soft timeout."""


class GeneratorReturned(TypeError):
    """The job returned a generator or a context manager, whose code has not run."""


def finish(value: Any) -> Any:
    """Return the value that a job returned; run an awaitable with ``asyncio.run`` first.

    Raises:
        GeneratorReturned: the value is a generator, or the context manager of one.
        Exception: any exception of the awaitable.
    """
    if value is None or type(value) in _PLAIN:
        return value
    if _is(inspect.isawaitable, value):
        value = _run(value)
    if _is(inspect.isgenerator, value) or _is(inspect.isasyncgen, value):
        name = value.__qualname__
        raise GeneratorReturned(
            f"the job returned a generator, and nothing of {name} has run; return its values instead"
        )
    if _is(_is_of_generator, value):
        raise GeneratorReturned(
            "the job returned a context manager that nobody has entered, and nothing of it has run; "
            "enter it in the job, with a with statement"
        )
    return value


def _is(kind: Callable[[object], bool], value: object) -> bool:
    try:
        return kind(value)
    except SoftTimeLimitExceeded:
        raise
    except BaseException:  # noqa: BLE001 - a class of the job's, which may raise anything when it is asked
        return False


def _is_of_generator(value: object) -> bool:
    return isinstance(value, _OF_GENERATORS)


def _run(awaitable: Awaitable[Any]) -> Any:
    with asyncio.Runner() as runner:
        job = _Job(awaitable)
        with _soft_timeout(runner.get_loop(), job):
            return runner.run(job.run())


class _Job:
    """The main task of a job. Its soft timeout arrives as SoftTimeLimitExceeded, wherever it waits."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable
        self._task: asyncio.Task[Any] | None = None
        self._late = False

    async def run(self) -> Any:
        self._task = asyncio.current_task()
        # Here, too: a fork shares the descriptors of the loop with its parent, and must not close them.
        with ending_forks():
            return await self

    def time_out(self) -> None:
        """Raise the timeout at the point where the job waits."""
        if self._task is not None and not self._task.done():
            self._late = True
            self._task.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = _iterator_of(self._awaitable)
        step: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                waits_for = step()
            except StopIteration as end:
                if not inspect.isawaitable(end.value):
                    return end.value
                # An awaitable from a decorator that forgot to await it, or a task: it must run in this loop.
                inner = _iterator_of(end.value)
                step = partial(next, inner)
                continue
            try:
                step = partial(inner.send, (yield waits_for))
            except asyncio.CancelledError as cancelled:
                step = partial(inner.throw, self._instead_of(cancelled))
            except BaseException as error:  # noqa: BLE001 - passed on
                step = partial(inner.throw, error)

    def _instead_of(self, cancelled: asyncio.CancelledError) -> BaseException:
        if not self._late:
            return cancelled
        assert self._task is not None
        self._late = False
        self._task.uncancel()
        return SoftTimeLimitExceeded()


def _iterator_of(awaitable: Any) -> Any:
    """Return the iterator behind ``await``; a generator marked by ``types.coroutine`` is its own iterator."""
    return awaitable if inspect.isgenerator(awaitable) else awaitable.__await__()


@contextmanager
def _soft_timeout(loop: asyncio.AbstractEventLoop, job: _Job) -> Generator[None, None, None]:
    """Raise a soft timeout in the code of a running task, or else where the main task waits.

    Anywhere else, it would end the loop, and the job could not clean up.
    """
    raises = signal.getsignal(SOFT_TIMEOUT)
    if threading.current_thread() is not threading.main_thread() or not callable(raises):
        yield
        return

    def time_out(signum: int, frame: FrameType | None) -> None:
        if asyncio.current_task(loop) is not None:
            raises(signum, frame)
        else:
            loop.call_soon_threadsafe(job.time_out)

    signal.signal(SOFT_TIMEOUT, time_out)
    try:
        yield
    finally:
        signal.signal(SOFT_TIMEOUT, raises)
