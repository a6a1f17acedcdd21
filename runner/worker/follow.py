"""Report possible file changes: at once where the system notifies, otherwise by polling."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from celery.utils.log import get_logger

log = get_logger(__name__)

TURN_SECONDS = 0.25
"""Seconds between two turns without a change."""

_QUIET_MS = 25
"""Changes within this time count as one."""
_LONGEST_QUIET_MS = 200
"""Seconds between reports during a stream of changes."""

Filter = Callable[[Any, str], bool]


def follow(paths: Sequence[Path], ended: threading.Event, wanted: Filter | None = None) -> Iterator[bool]:
    """Yield True after a change below ``paths`` and False after a turn without one, until ``ended``.

    A replaced folder is followed again. Where the system cannot notify (no inotify watches left, a missing folder),
    every turn is False, and the caller has to check the files.
    """
    warned = False
    while not ended.is_set():
        before = _identities(paths)
        try:
            for changes in _watch(paths, ended, wanted):
                yield bool(changes)
                if not changes and _identities(paths) != before:
                    yield True
                    break
        except OSError as error:
            if not warned:
                warned = True
                log.warning("changes of files are noticed a little later: %s", error)
            ended.wait(TURN_SECONDS)
            yield False


def _watch(paths: Sequence[Path], ended: threading.Event, wanted: Filter | None) -> Iterator[object]:
    from watchfiles import watch  # start-up time: only workers follow files

    # watchfiles logs the number of changes, including those of editors' backup files.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    return watch(
        *paths,
        watch_filter=wanted,
        debounce=_LONGEST_QUIET_MS,
        step=_QUIET_MS,
        stop_event=ended,
        rust_timeout=round(TURN_SECONDS * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )


def _identities(paths: Sequence[Path]) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - a few calls a second for as long as the worker lives
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return found
