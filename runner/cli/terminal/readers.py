"""Ends a command that follows something when nobody reads its stdout any more, as in ``runner watch | head -1``."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

AGAIN_MILLISECONDS = 1000
"""The time between signals. One is enough, unless Python drops its exception in a destructor."""


class ReaderGone(BaseException):
    """Nobody reads stdout any more."""


@contextmanager
def while_read() -> Iterator[None]:
    """End the block, without an error, when nobody reads stdout any more.

    A write to a pipe without a reader fails, but a command that waits for the next change may not write for hours. So a
    thread waits for the end of the pipe, and interrupts the block with SIGPIPE. Regular files have no such end.
    Outside of the main thread, where Python allows no signal handlers, the block is not interrupted.
    """
    watched = _copy_of_stdout()
    if watched is None:
        yield
        return
    active = True

    def end_block(*_: object) -> None:
        # A socket that the other side closed, such as one to Redis, raises SIGPIPE too.
        if active and _has_no_reader(watched):
            raise ReaderGone

    stop, stopping = os.pipe()
    watcher = threading.Thread(target=_interrupt_when_unread, args=(watched, stop), daemon=True, name="stdout")
    former = signal.signal(signal.SIGPIPE, end_block)
    try:
        try:
            watcher.start()
            yield
        finally:
            active = False
    except ReaderGone:
        pass
    finally:
        os.close(stopping)
        watcher.join()
        signal.signal(signal.SIGPIPE, former)
        os.close(stop)
        os.close(watched)


def _copy_of_stdout() -> int | None:
    """Return a new descriptor for the current stdout, because :func:`write` replaces stdout after a failed write."""
    if threading.current_thread() is not threading.main_thread():
        return None
    with suppress(OSError, ValueError):  # stdout may be closed, or not be a file
        return os.dup(sys.stdout.fileno())
    return None


def _has_no_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def _interrupt_when_unread(watched: int, stop: int) -> None:
    """Send SIGPIPE to the main thread once ``watched`` has no reader, and again until ``stop`` is closed."""
    poll = select.poll()
    poll.register(watched, 0)  # POLLERR and POLLHUP are always reported
    poll.register(stop, 0)
    timeout = None
    while stop not in (found := dict(poll.poll(timeout))):
        if watched in found:
            poll.unregister(watched)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPIPE)
        timeout = AGAIN_MILLISECONDS
