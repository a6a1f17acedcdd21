"""Detect and undo changes of loggers by a job. See ``process_state.py``."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

_STATE = frozenset({"level", "propagate", "disabled", "handlers", "filters"})
_noticed = False
"""Whether an attribute of a logger was set since the last check."""


def _notice(logger: logging.Logger, name: str, value: Any) -> None:
    global _noticed
    object.__setattr__(logger, name, value)
    if name in _STATE:
        _noticed = True


def _notice_changes() -> None:
    """Record from now on that attributes of loggers are set in this process."""
    logging.Logger.__setattr__ = _notice  # type: ignore[assignment]


def _notices() -> bool:
    return logging.Logger.__setattr__ is _notice


class Loggers:
    """The state of all loggers, including new ones, and of the logging module."""

    _of_logger = staticmethod(attrgetter("level", "propagate", "disabled", "handlers", "filters"))
    _of_handler = staticmethod(attrgetter("level", "formatter", "filters"))

    def __init__(self) -> None:
        self._known: dict[str, logging.Logger] = {}
        self._names = 0
        self._loggers: list[logging.Logger] = []
        self._noted: list[tuple[Any, ...]] = []
        self._add(logging.root, self._copy(logging.root))
        self._note_new(self._copy)
        handlers = {handler: None for logger in self._loggers for handler in logger.handlers}
        # A null handler does nothing, whatever its attributes are.
        self._handlers = [handler for handler in handlers if type(handler) is not logging.NullHandler]
        # Checking the others, such as null handlers of libraries, would take longer than all the rest.
        self._writing: list[Any] = [handler for handler in self._handlers if hasattr(handler, "stream")]
        self._streams = self._read_streams()
        self._noted_handlers = [(*self._of_handler(handler)[:2], list(handler.filters)) for handler in self._handlers]
        self._common = self._read_common()
        self._level_names = (dict(logging._levelToName), dict(logging._nameToLevel))
        _notice_changes()
        self._pin()

    def _note_new(self, noted_as: Callable[[logging.Logger], tuple[Any, ...]]) -> None:
        there = logging.root.manager.loggerDict
        if len(there) == self._names:
            return
        for name, logger in list(there.items()):
            if isinstance(logger, logging.Logger) and name not in self._known:
                self._known[name] = logger
                self._add(logger, noted_as(logger))
        self._names = len(there)

    def _copy(self, logger: logging.Logger) -> tuple[Any, ...]:
        level, propagate, disabled, handlers, filters = self._of_logger(logger)
        return level, propagate, disabled, list(handlers), list(filters)

    def _add(self, logger: logging.Logger, noted: tuple[Any, ...]) -> None:
        self._loggers.append(logger)
        # Equal states are shared: comparing is faster with less memory to read.
        self._noted.append(next((state for state in self._noted if state == noted), noted))

    @staticmethod
    def _fresh(logger: logging.Logger) -> tuple[Any, ...]:
        """Return the state to restore for a logger that a job created. A library's null handler stays."""
        quiet = [handler for handler in logger.handlers if isinstance(handler, logging.NullHandler)]
        return logging.NOTSET, True, False, quiet, []

    def _read_streams(self) -> list[Any]:
        return [getattr(handler, "stream", None) for handler in self._writing]

    @staticmethod
    def _read_common() -> tuple[Any, ...]:
        manager = logging.root.manager
        classes = (logging.getLoggerClass(), manager.loggerClass, logging.getLogRecordFactory())
        last = (logging.raiseExceptions, logging.lastResort)
        return (manager.disable, *classes, manager.logRecordFactory, *last)

    def are_whole(self) -> bool:
        """Return whether nothing has changed since it was saved."""
        self._note_new(self._fresh)
        return (
            (self._are_untouched() or self._are_as_noted())
            and list(map(self._of_handler, self._handlers)) == self._noted_handlers
            and self._read_streams() == self._streams
            and self._read_common() == self._common
            and (logging._levelToName, logging._nameToLevel) == self._level_names
        )

    def _are_untouched(self) -> bool:
        """Return whether no attribute of a logger was set, and no list of a logger was changed, since the last check.

        Most runs do neither, and a full comparison takes seven times as long.
        """
        return not (_noticed or self._unnoticed) and _notices() and self._lists == self._contents

    def _are_as_noted(self) -> bool:
        global _noticed
        _noticed = False
        if list(map(self._of_logger, self._loggers)) != self._noted:
            _noticed = True
            return False
        self._pin()
        return True

    def _pin(self) -> None:
        """Keep references to the current lists of the loggers, which are unchanged."""
        self._lists = [entries for logger in self._loggers for entries in (logger.handlers, logger.filters)]
        self._contents = [entries for noted in self._noted for entries in noted[3:]]
        self._unnoticed = not all(type(logger).__setattr__ is _notice for logger in self._loggers)

    def put_back(self) -> None:
        """Restore the saved state."""
        manager: Any = logging.root.manager
        manager.disable, cls, manager.loggerClass, factory, manager.logRecordFactory, *rest = self._common
        logging.setLoggerClass(cls)
        logging.setLogRecordFactory(factory)
        logging.raiseExceptions, logging.lastResort = rest
        found: Any
        for found, names in zip((logging._levelToName, logging._nameToLevel), self._level_names, strict=True):
            found.clear()
            found.update(names)
        for logger, noted in zip(self._loggers, self._noted, strict=True):
            logger.level, logger.propagate, logger.disabled = noted[:3]
            logger.handlers, logger.filters = list(noted[3]), list(noted[4])
        for handler, (level, formatter, filters) in zip(self._handlers, self._noted_handlers, strict=True):
            handler.level, handler.formatter, handler.filters = level, formatter, list(filters)
        for number, (handler, stream) in enumerate(zip(self._writing, self._streams, strict=True)):
            # A handler that a job has closed reopens by itself.
            closed = stream is not None and isinstance(handler, logging.FileHandler) and stream.closed
            vars(handler)["stream"] = self._streams[number] = None if closed else stream
        manager._clear_cache()


HELD_SECONDS = 0.1
"""Seconds that a leftover thread of a job may hold a lock of ``logging``; writing a line takes far less."""


def replace_held_locks() -> bool:
    """Replace the locks of ``logging`` that a leftover thread holds and may never release.

    Returns:
        Whether there were such locks.
    """
    home: Any = logging
    held = not _is_free(home._lock)
    if held:
        home._lock = threading.RLock()
    for handler in [reference() for reference in list(home._handlerList)]:
        if handler is not None and handler.lock is not None and not _is_free(handler.lock):
            handler.createLock()
            held = True
    return held


def _is_free(lock: Any) -> bool:
    if not lock.acquire(timeout=HELD_SECONDS):
        return False
    lock.release()
    return True


LINE_SECONDS = 1.0
"""Seconds to wait for a thread that writes a line of the log; a reader that has stopped reading may block it longer."""


@contextmanager
def between_lines() -> Iterator[None]:
    """Let no other thread write a line of the log in the block, so that this one can fork.

    A fork in the middle of a line inherits the lock of the handler's stream, which nothing releases there. Those of the
    handlers themselves are released in a fork.
    """
    home: Any = logging
    parent, held = os.getpid(), []
    try:
        for handler in [reference() for reference in list(home._handlerList)]:
            if handler is not None and handler.lock is not None and handler.lock.acquire(timeout=LINE_SECONDS):
                held.append(handler.lock)
        yield
    finally:
        for lock in held if os.getpid() == parent else ():
            lock.release()


__all__ = ["Loggers", "between_lines", "replace_held_locks"]
