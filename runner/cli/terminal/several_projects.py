"""Shows several projects at once: rows and documents name theirs, and one that is away is told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from runner.cli.terminal.hints import remember, with_project
from runner.cli.terminal.output import Output

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.projects import Named, Projects, Together
    from runner.model.run import Run

T = TypeVar("T")


class Shown:
    """What a command shows of its projects.

    ``code`` is 69 once the Redis or archive of a project could not be reached, and 0 before.
    """

    def __init__(self, out: Output, projects: Projects) -> None:
        self.projects = projects
        self.code = 0
        self.out = out

    def read(self, one: Callable[[Project], T]) -> Together[T]:
        """Call ``one`` with each project, and warn of those whose Redis or archive is away.

        Raises:
            RunnerError: see :meth:`runner.actions.projects.Projects.read`.
        """

        def remembered(project: Project) -> T:
            remember(project.settings.project)
            return one(project)

        return self.told(self.projects.read(remembered))

    def find(self, reference: str, *, archived: bool = False) -> Named[Run]:
        """Return the run that ``reference`` means, of whichever project knows it.

        Raises:
            RunnerError: see :meth:`runner.actions.projects.Projects.find_run`.
        """
        return self.projects.find_run(reference, archived=archived)

    def told(self, found: Together[T]) -> Together[T]:
        """Warn of the projects that could not be read; return ``found``."""
        for each in found.away:
            remember(each.project.settings.project)
            hint = f" ({with_project(each.value.hint)})" if each.value.hint else ""
            self.out.warn(f"project {each.name} is not shown: {each.value.message}{hint}")
            self.code = each.value.exit_code
        return found

    # -- what rows and documents have more where there are several projects

    @property
    def heading(self) -> tuple[str, ...]:
        """The heading of the column with the project."""
        return ("PROJECT",) if self.projects.several else ()

    def cell(self, of: Named[Any]) -> tuple[str, ...]:
        """Return the cell of that column."""
        return (of.name,) if self.projects.several else ()

    def document(self, of: Named[Any], document: dict[str, Any]) -> dict[str, Any]:
        """Return a document that names its project."""
        return {"project": of.name, **document} if self.projects.several else document

    def title(self, of: Named[Any], *, first: bool) -> None:
        """Print a line with the name of the project that the next lines are about."""
        if self.projects.several:
            if not first:
                self.out.data("")
            self.out.data(f"# project {of.name} ({of.project.settings.project})")
