"""An open project: its settings, and objects that are created from them on demand."""

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
"""The maximum age (seconds) of jobs in a long-lived process: changed YAML counts after it, a new job at once."""


class Project:
    """The settings of a project; its catalog and its ledger are opened at their first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._mutex = threading.Lock()
        self._looked_at = 0.0

    @classmethod
    def open(cls, path: str | Path | None = None) -> Self:
        """Return the project in the folder ``path``, or the one found from the environment and the working folder.

        Raises:
            NoProject: there is no project.
            InvalidSettings: its ``runner.yaml`` or a ``RUNNER_*`` variable is invalid.
        """
        return cls(load_settings(path))

    @cached_property
    def catalog(self) -> Catalog:
        """Return the valid jobs of the project, and the problems of the others."""
        from runner.catalog.catalog import load_catalog  # start-up time: `status` reads no jobs

        return load_catalog(self.settings)

    def look(self, name: str | None = None, *, at_once: bool = False) -> None:
        """Reload the jobs of changed files, at most once a second, or ``at_once``.

        They are also reloaded at once if ``name`` is not a known job.
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
                    # Otherwise the current catalog stays, with the jobs that it has built.
                    found.calendars.keep(known.calendars)
                    self.catalog = found

    def _is_stale(self) -> bool:
        return time.monotonic() - self._looked_at > CATALOG_SECONDS

    @property
    def opened(self) -> bool:
        """Return whether the ledger was opened; if not, no request of this process can have reached it."""
        return "ledger" in self.__dict__

    @cached_property
    def ledger(self) -> Ledger:
        """Return the ledger.

        Raises:
            Unavailable: the embedded server cannot be started.
        """
        from runner.delivery.courier import open_ledger  # start-up time: `jobs` and completion need no Redis client

        return open_ledger(self.settings, lightly=True)

    @cached_property
    def behind(self) -> Behind:
        """Return the archive, which has runs that the ledger has dropped."""
        from runner.archive.behind import Behind  # start-up time: `jobs` and completion read no runs

        return Behind(self.settings)

    @cached_property
    def records(self) -> Records:
        """Return the records of runs: the ledger, with the archive as fallback."""
        from runner.actions.records import Records  # start-up time: `jobs` and completion read no runs

        return Records(lambda: self.ledger, self.behind)

    def reading(self, *, archived: bool) -> Records:
        """Return where to read runs from: the ledger and the archive, or the archive only.

        Raises:
            UsageError: only the archive is requested, and there is none.
        """
        from runner.actions.records import Records  # start-up time: as above

        return Records(lambda: self.ledger, self.behind, only_archive=True) if archived else self.records
