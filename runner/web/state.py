"""The state that all requests of one web process share."""

from __future__ import annotations

from functools import cached_property

from runner.actions.project import Project
from runner.catalog.catalog import Catalog
from runner.settings import Settings
from runner.web.access import Access
from runner.web.calendar import Calendar
from runner.web.events import Hub
from runner.web.journal import Journal


class State:
    """The project, who may use it, what is noted of them, and the events that browsers follow."""

    def __init__(self, project: Project, access: Access, journal: Journal) -> None:
        self.access = access
        self.journal = journal
        self._project = project
        self._calendar: tuple[Catalog, Calendar] | None = None

    @property
    def settings(self) -> Settings:
        """The settings, as they were when it started."""
        return self._project.settings

    @property
    def project(self) -> Project:
        """The project, with jobs as they are declared now."""
        self._project.look()
        return self._project

    @property
    def catalog(self) -> Catalog:
        """The jobs as they are declared now."""
        return self.project.catalog

    @property
    def calendar(self) -> Calendar:
        """The calendar of these jobs."""
        catalog = self.catalog
        found = self._calendar
        if found is None or found[0] is not catalog:
            found = (catalog, Calendar(catalog, self._project.settings.timezone))
            self._calendar = found
        return found[1]

    @cached_property
    def hub(self) -> Hub:
        """The hub that sends events to browsers."""
        return Hub(self._project.ledger)
