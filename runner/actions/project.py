"""A project that is open: its settings, and what derives from them once it is asked for."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runner.settings import Settings, load_settings

if TYPE_CHECKING:
    from runner.actions.records import Records
    from runner.archive.behind import Behind
    from runner.catalog.catalog import Catalog
    from runner.ledger.ledger import Ledger


CATALOG_SECONDS = 1.0
"""How old the jobs may be in a process that goes on: a change of YAML counts after this time, a new job at once."""


class Project:
    """The settings of a project; its catalog and its ledger are read and reached when first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._mutex = threading.Lock()
        self._looked_at = 0.0

    @classmethod
    def open(cls, path: str | Path | None = None) -> Self:
        """Return the project in the folder ``path``, or the one found from the environment and the working folder.

        Raises:
            NoProject: there is none.
            InvalidSettings: its ``runner.yaml`` or a ``RUNNER_*`` variable is wrong.
        """
        return cls(load_settings(path))

    @cached_property
    def catalog(self) -> Catalog:
        """All jobs of the project: the sound ones and the problems of the others."""
        from runner.catalog.catalog import load_catalog  # start-up time: `status` reads no jobs

        return load_catalog(self.settings)

    def look(self, name: str | None = None, *, at_once: bool = False) -> None:
        """Read the jobs again where their files changed, at most once a second, or ``at_once``.

        They are read at once also if ``name`` is not a known job.
        """
        from runner.catalog.catalog import load_catalog  # start-up time: as above

        with self._mutex:
            known = self.__dict__.get("catalog")
            if known is None:
                self._looked_at = time.monotonic()
            elif at_once or self._is_stale() or (name is not None and name not in known.jobs):
                self._looked_at = time.monotonic()
                found = load_catalog(self.settings)
                if not found.same_as(known):
                    # Else the one that is there stays, and with it the jobs that it has built.
                    found.calendars.keep(known.calendars)
                    self.catalog = found

    def _is_stale(self) -> bool:
        return time.monotonic() - self._looked_at > CATALOG_SECONDS

    @property
    def opened(self) -> bool:
        """Whether the ledger was opened; if not, nothing that this process asked for can have reached it."""
        return "ledger" in self.__dict__

    @cached_property
    def ledger(self) -> Ledger:
        """The record of every run.

        Raises:
            Unavailable: the embedded server cannot be started.
        """
        from runner.delivery.courier import open_ledger  # start-up time: `jobs` and completion need no Redis client

        return open_ledger(self.settings, lightly=True)

    @cached_property
    def behind(self) -> Behind:
        """The archive, where runs are that the ledger has dropped."""
        from runner.archive.behind import Behind  # start-up time: `jobs` and completion read no runs

        return Behind(self.settings)

    @cached_property
    def records(self) -> Records:
        """All that is known of runs: the ledger, and behind it the archive."""
        from runner.actions.records import Records  # start-up time: `jobs` and completion read no runs

        return Records(lambda: self.ledger, self.behind)

    def reading(self, *, archived: bool) -> Records:
        """Return the records that an answer is asked of: all, or only those in the archive.

        Raises:
            UsageError: only the archive is asked for, and there is none.
        """
        from runner.actions.records import Records  # start-up time: as above

        return Records(lambda: self.ledger, self.behind, only_archive=True) if archived else self.records
