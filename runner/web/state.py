"""What all requests of one web process share."""

from __future__ import annotations

import threading
import time
from functools import cached_property

from runner.actions.project import Project
from runner.settings import Settings
from runner.spec.catalog import Catalog, load_catalog
from runner.web.access import Access
from runner.web.calendar import Calendar
from runner.web.events import Hub

CATALOG_SECONDS = 1.0
"""How old the catalog may be: a change of YAML shows after this time."""


class State:
    """The project, who may use it, and the events that browsers follow."""

    def __init__(self, project: Project, access: Access) -> None:
        self.access = access
        self._project = project
        self._mutex = threading.Lock()
        self._read_at = 0.0
        self._calendar: tuple[Catalog, Calendar] | None = None

    @property
    def settings(self) -> Settings:
        """The settings, as they were when it started."""
        return self._project.settings

    @property
    def project(self) -> Project:
        """The project, with jobs as they are declared now."""
        with self._mutex:
            if time.monotonic() - self._read_at > CATALOG_SECONDS:
                catalog = load_catalog(self._project.settings)
                if self._read_at == 0.0 or not catalog.same_as(self._project.catalog):
                    # Else the one that is there stays, and with it the jobs that it has built.
                    self._project.catalog = catalog
                self._read_at = time.monotonic()
        return self._project

    @property
    def catalog(self) -> Catalog:
        """The jobs as they are declared now."""
        return self.project.catalog

    @property
    def calendar(self) -> Calendar:
        """What comes by the schedules of these jobs."""
        catalog = self.catalog
        found = self._calendar
        if found is None or found[0] is not catalog:
            found = (catalog, Calendar(catalog, self._project.settings.timezone))
            self._calendar = found
        return found[1]

    @cached_property
    def hub(self) -> Hub:
        """What hands events to browsers."""
        return Hub(self._project.ledger)
