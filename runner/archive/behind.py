"""The archive as the fallback for runs that the ledger does not know."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from runner.archive.store import Archive
from runner.errors import ArchiveUnavailable, NoArchive, RunnerError

if TYPE_CHECKING:
    from runner.archive.reader import Reader
    from runner.settings import Settings

AWAY_SECONDS = 5.0
"""Seconds that a process waits before it tries an unreachable archive again."""

T = TypeVar("T")

log = logging.getLogger("runner.archive")


def log_away(error: RunnerError) -> None:
    """Log that an answer comes from the ledger only."""
    log.warning("runs that only the archive has are missing: %s", error.message)


def reader_of(archive: Archive, namespace: str) -> Reader:
    """Return a reader for the runs of a project. Only projects with an archive have its packages."""
    from runner.archive.reader import Reader  # an extra: it imports SQLAlchemy

    return Reader(archive, namespace)


class Behind:
    """The archive of a project. It is opened, and SQLAlchemy is imported, at the first query."""

    def __init__(self, settings: Settings, tell_away: Callable[[RunnerError], None] = log_away) -> None:
        self._settings = settings
        self._away_until = 0.0
        self.tell_away = tell_away
        """Called with the reason when the archive cannot be reached, so that an answer comes from the ledger only."""

    @property
    def exists(self) -> bool:
        """Return whether the project has an archive."""
        return self._settings.archive_url is not None

    @cached_property
    def archive(self) -> Archive:
        """Return the archive.

        Raises:
            NoArchive: the project has none.
            UsageError: a package is missing.
        """
        if self._settings.archive_url is None:
            raise NoArchive("this project has no archive", hint="set archive_url in runner.yaml")
        return Archive.open(self._settings.archive_url)

    @property
    def reader(self) -> Reader:
        """Return a reader for the project's runs. Raises the same errors as :attr:`archive`."""
        return reader_of(self.archive, self._settings.namespace)

    def ask(self, question: Callable[[Reader], T]) -> T | None:
        """Return the answer of the archive; None if the project has no archive or the database cannot be reached.

        Raises:
            UsageError: a package is missing.
        """
        if not self.exists or time.monotonic() < self._away_until:
            return None
        try:
            return question(self.reader)
        except ArchiveUnavailable as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            self.tell_away(error)
            return None
