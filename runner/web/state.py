"""The state that all requests of one web process share, and the projects that they are about."""

from __future__ import annotations

from functools import cached_property
from urllib.parse import quote

from starlette.requests import Request

from runner.actions.project import Project
from runner.actions.projects import Projects
from runner.catalog.catalog import Catalog
from runner.errors import UsageError
from runner.settings import Settings
from runner.web.access import Access
from runner.web.calendar import Calendar
from runner.web.events import Hub
from runner.web.journal import Journal


class State:
    """A project, and the events that browsers follow."""

    def __init__(self, project: Project) -> None:
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


CHOSEN = "runner.project"
"""Where the scope of a request keeps the name of the project that it is about."""


class States:
    """The states of all projects, who may use them, and what is noted of those who may not.

    With several projects, ``web:`` of the first one says who may use them.
    """

    def __init__(self, projects: Projects, access: Access, journal: Journal) -> None:
        self.projects = projects
        self.access = access
        self.journal = journal
        self._by_name = {name: State(project) for name, project in projects.by_name.items()}

    @property
    def several(self) -> bool:
        """Whether a request must say which project it is about."""
        return self.projects.several

    @property
    def first(self) -> State:
        """The state of the project that was named first."""
        return next(iter(self._by_name.values()))

    def of(self, request: Request) -> State:
        """Return the state of the project that a request is about. It may be asked for by the id of a run alone.

        Raises:
            UnknownProject: no project has the name.
            UsageError: there are several, and it names none.
            UnknownRun, AmbiguousId, Unavailable: there are several, and not one of them has its run.
        """
        name = self.chosen(request)
        if name is None and _RUNS in request.scope["path"] and "reference" in request.path_params:
            name = request.scope[CHOSEN] = self.projects.find_run(request.path_params["reference"]).name
        if name is None:
            names = ", ".join(self._by_name)
            raise UsageError(
                "there are several projects here, and none is named", hint=f"add ?project= with one of: {names}"
            )
        self.projects.get(name)
        return self._by_name[name]

    def named(self, name: str) -> State:
        """Return the state of the project with that name, which must be one of them."""
        return self._by_name[name]

    def chosen(self, request: Request) -> str | None:
        """Return the name of the project that a request is about, as far as it is known."""
        name: str | None = request.scope.get(CHOSEN)
        return next(iter(self._by_name)) if name is None and not self.several else name

    def base(self, request: Request) -> str:
        """Return what the paths of the project's pages begin with."""
        name = self.chosen(request)
        return f"{PROJECTS}{quote(name, safe='')}" if self.several and name in self._by_name else ""


_RUNS = "/runs/"
"""Stands in paths that name a run by its id."""

PROJECTS = "/projects/"
"""What the paths of pages begin with where there are several projects: ``/projects/NAME/runs``."""


def states_of(request: Request) -> States:
    """Return the state that all requests share."""
    found: States = request.app.state.runner
    return found


def base_of(request: Request) -> str:
    """Return what the paths of the pages of a request's project begin with: nothing where there is only one."""
    return states_of(request).base(request)
