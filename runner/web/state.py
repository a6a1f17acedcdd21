"""The state that all requests of a web process share: its projects, and what browsers follow of them."""

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
        """The settings, as they were when the process started."""
        return self._project.settings

    @property
    def project(self) -> Project:
        """The project, with its current jobs."""
        self._project.look()
        return self._project

    @property
    def catalog(self) -> Catalog:
        """The current jobs."""
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
"""The key in the scope of a request for the name of its project."""


class States:
    """The states of all projects, with access control and the journal of refused tokens.

    With several projects, the ``web`` section of the first one decides about access to all of them.
    """

    def __init__(self, projects: Projects, access: Access, journal: Journal) -> None:
        self.projects = projects
        self.access = access
        self.journal = journal
        self._by_name = {name: State(project) for name, project in projects.by_name.items()}

    @property
    def several(self) -> bool:
        """Whether there is more than one project, so that requests must name theirs."""
        return self.projects.several

    @property
    def first(self) -> State:
        """The state of the project that was named first."""
        return next(iter(self._by_name.values()))

    def of(self, request: Request) -> State:
        """Return the state of a request's project. A request for a run need not name it.

        Raises:
            UnknownProject: no project has the name.
            UsageError: there are several projects, and the request names none.
            UnknownRun, AmbiguousId, Unavailable: as :meth:`runner.actions.projects.Projects.find_run` does.
        """
        name = self.chosen(request)
        if name is None and _RUNS in request.scope["path"] and "reference" in request.path_params:
            name = request.scope[CHOSEN] = self.projects.find_run(request.path_params["reference"]).name
        if name is None:
            names = ", ".join(self._by_name)
            raise UsageError(
                "there are several projects, and the request names none", hint=f"add ?project= with one of: {names}"
            )
        self.projects.get(name)
        return self._by_name[name]

    def named(self, name: str) -> State:
        """Return the state of the project with that name, which must be one of them."""
        return self._by_name[name]

    def chosen(self, request: Request) -> str | None:
        """Return the name of a request's project; None if there are several and it names none."""
        name: str | None = request.scope.get(CHOSEN)
        return next(iter(self._by_name)) if name is None and not self.several else name

    def base(self, request: Request) -> str:
        """Return the prefix of the paths of the project's pages; empty if there is only one project."""
        name = self.chosen(request)
        return f"{PROJECTS}{quote(name, safe='')}" if self.several and name in self._by_name else ""


_RUNS = "/runs/"
"""A part of paths that contain the id of a run."""

PROJECTS = "/projects/"
"""The prefix of the paths of pages if there are several projects: ``/projects/NAME/runs``."""


def states_of(request: Request) -> States:
    """Return the state that all requests share."""
    found: States = request.app.state.runner
    return found


def base_of(request: Request) -> str:
    """Return the prefix of the paths of the project's pages; empty if there is only one project."""
    return states_of(request).base(request)
