"""The archive as the place to look where the ledger does not know a run. Without an archive, nothing is known there."""

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
"""For how long an archive that could not be reached is not asked again by a process that goes on."""

T = TypeVar("T")

log = logging.getLogger("runner.archive")


def log_away(error: RunnerError) -> None:
    """Log that an answer is that of the ledger alone."""
    log.warning("runs that only the archive has are missing: %s", error.message)


def reader_of(archive: Archive, namespace: str) -> Reader:
    """Return a reader of a project's runs. Only this imports its module: who has an archive has the packages."""
    from runner.archive.reader import Reader  # an extra: it imports SQLAlchemy

    return Reader(archive, namespace)


class Behind:
    """The archive of a project. It is opened, and SQLAlchemy imported, when it is first asked."""

    def __init__(self, settings: Settings, tell_away: Callable[[RunnerError], None] = log_away) -> None:
        self._settings = settings
        self._away_until = 0.0
        self.tell_away = tell_away
        """Called with the reason if the archive could not be asked, so that an answer is that of the ledger alone."""

    @property
    def exists(self) -> bool:
        """Whether the project has an archive."""
        return self._settings.archive_url is not None

    @cached_property
    def archive(self) -> Archive:
        """The archive.

        Raises:
            NoArchive: the project has none.
            UsageError: a package is missing.
        """
        if self._settings.archive_url is None:
            raise NoArchive("this project has no archive", hint="set archive_url in runner.yaml")
        return Archive.open(self._settings.archive_url)

    @property
    def reader(self) -> Reader:
        """A reader of the project's runs. Raises as :attr:`archive` does."""
        return reader_of(self.archive, self._settings.namespace)

    def ask(self, question: Callable[[Reader], T]) -> T | None:
        """Return the answer of the archive; None if there is none, or if it is away.

        Raises:
            UsageError: a package is missing, which nothing but a person can change.
        """
        if not self.exists or time.monotonic() < self._away_until:
            return None
        try:
            return question(self.reader)
        except ArchiveUnavailable as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            self.tell_away(error)
            return None
