"""Shows several projects at once.

Rows and documents have the name of their project, and warnings name the projects that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from runner.cli.terminal.hints import remember, with_project
from runner.cli.terminal.listing import Column, Listing
from runner.cli.terminal.output import Output

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.projects import Named, Projects, Together
    from runner.model.run import Run

T = TypeVar("T")
U = TypeVar("U")


class Shown:
    """The projects that a command shows.

    ``code`` is the exit code of the command: 69 once the Redis or archive of a project could not be reached, and 0
    otherwise.
    """

    def __init__(self, out: Output, projects: Projects) -> None:
        self.projects = projects
        self.code = 0
        self.out = out

    def read(self, one: Callable[[Project], T]) -> Together[T]:
        """Call ``one`` with each project, and warn of those whose Redis or archive cannot be reached.

        Raises:
            RunnerError: see :meth:`runner.actions.projects.Projects.read`.
        """

        def remembered(project: Project) -> T:
            remember(project.settings.project)
            return one(project)

        return self.warn_of_unreachable(self.projects.read(remembered))

    def find(self, reference: str, *, archived: bool = False) -> Named[Run]:
        """Return the run that ``reference`` means, from the project that knows it.

        Raises:
            RunnerError: see :meth:`runner.actions.projects.Projects.find_run`.
        """
        return self.projects.find_run(reference, archived=archived)

    def warn_of_unreachable(self, found: Together[T]) -> Together[T]:
        """Warn of the projects that could not be read; return ``found``."""
        for answer in found.away:
            remember(answer.project.settings.project)
            hint = f" ({with_project(answer.value.hint)})" if answer.value.hint else ""
            self.out.warn(f"project {answer.name} is not shown: {answer.value.message}{hint}")
            self.code = answer.value.exit_code
        return found

    # -- rows and documents

    def document(self, of: Named[Any], document: dict[str, Any]) -> dict[str, Any]:
        """Return the document with the name of its project if there are several."""
        return {"project": of.name, **document} if self.projects.several else document

    def title(self, of: Named[Any], *, first: bool) -> None:
        """Print a heading with the name of the project if there are several."""
        if self.projects.several:
            if not first:
                self.out.data("")
            self.out.data(f"# project {of.name} ({of.project.settings.project})")

    def listing(self, of_one: Listing[T]) -> Listing[Named[T]]:
        """Return the listing of the rows of all projects, with a column for the project if there are several."""
        record = of_one.record
        columns = [column.within(_value) for column in of_one.columns]
        extra = ["project"] if self.projects.several else []
        named: list[Column[Named[T]]] = [Column("PROJECT", lambda row: row.name, flexible=True)] if extra else []
        return Listing(
            [*named, *columns],
            document=lambda row: self.document(row, of_one.document(row.value)),
            fields={**dict.fromkeys(extra), **of_one.fields},
            key=lambda row: (row.name, of_one.key(row.value)),
            name=lambda row: of_one.name(row.value),
            record=None if record is None else lambda row: self.document(row, dict(record(row.value))),
            record_fields=[*extra, *of_one.record_fields] if record is not None else (),
            unsteady=of_one.unsteady,
        )


def _value(row: Named[T]) -> T:
    return row.value


def flatten(answers: Iterable[Named[U]], rows: Callable[[U], Iterable[T]]) -> list[Named[T]]:
    """Return the rows of the answers of all projects, each with its project."""
    from runner.actions.projects import Named  # start-up time: --help reads no settings

    return [Named(answer.name, answer.project, row) for answer in answers for row in rows(answer.value)]
