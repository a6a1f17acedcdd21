"""Read several projects together; a project whose Redis or archive is unreachable does not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runner._dataclass import dataclass
from runner.actions.find import find_run, list_runs
from runner.actions.project import Project
from runner.errors import (
    AmbiguousId,
    ArchiveUnavailable,
    NoArchive,
    RunnerError,
    Unavailable,
    UnknownJob,
    UnknownProject,
    UnknownRun,
    UsageError,
)
from runner.model.run import to_datetime

if TYPE_CHECKING:
    from runner.ledger.search import Page
    from runner.model.run import Run
    from runner.model.run_query import RunQuery

T = TypeVar("T")

_END = "-"
"""The part of a joint cursor for a project without further pages."""


@dataclass(frozen=True, slots=True)
class Named(Generic[T]):
    """The result for one project."""

    name: str
    project: Project
    value: T


@dataclass(frozen=True, slots=True)
class Together(Generic[T]):
    """The results for several projects in order, and the unreachable projects."""

    found: Sequence[Named[T]]
    away: Sequence[Named[RunnerError]]

    def __iter__(self) -> Iterator[Named[T]]:
        return iter(self.found)


@dataclass(frozen=True, slots=True)
class JointPage:
    """A page of the runs of all projects, in order; ``pages`` has the page of each project."""

    pages: Together[Page]
    runs: Sequence[Named[Run]]
    cursor: str | None


class Projects:
    """Projects by name: that of the folder, with parent folders if names are not unique, as in ``prod-shop``."""

    def __init__(self, projects: Sequence[Project]) -> None:
        unique = {project.settings.project.resolve(): project for project in projects}
        self.by_name = dict(zip(names_of(list(unique)), unique.values(), strict=True))

    @property
    def several(self) -> bool:
        """Return whether there are several, so that rows and documents name their project."""
        return len(self.by_name) > 1

    @property
    def first(self) -> Project:
        """Return the first project."""
        return next(iter(self.by_name.values()))

    def get(self, name: str) -> Project:
        """Return the project with this name.

        Raises:
            UnknownProject: there is no project with this name.
        """
        found = self.by_name.get(name)
        if found is None:
            raise UnknownProject(f"there is no project {name!r} here", hint=f"use one of: {', '.join(self.by_name)}")
        return found

    def read(self, one: Callable[[Project], T]) -> Together[T]:
        """Call ``one`` with each project. A run or job must be known to at least one of them.

        Projects without an archive are skipped if only archives are read and another project has one.

        Raises:
            RunnerError: the error of ``one`` with a single project; with several, all errors but :class:`Unavailable`
            and
                :class:`ArchiveUnavailable`.
            UnknownRun, UnknownJob: no project knows it.
            Unavailable: no reachable project knows it.
        """
        return self._collect(
            (name, project, lambda project=project: one(project)) for name, project in self.by_name.items()
        )

    def read_at_once(self, one: Callable[[Project], T]) -> Together[T]:
        """Do the same in threads, so that it takes as long as the slowest project. Raises as :meth:`read`."""
        with ThreadPoolExecutor(min(16, len(self.by_name)), "runner-projects") as threads:
            asked = [(name, project, threads.submit(one, project)) for name, project in self.by_name.items()]
            return self._collect((name, project, future.result) for name, project, future in asked)

    def _collect(self, asked: Any) -> Together[T]:
        found: list[Named[T]] = []
        away: list[Named[RunnerError]] = []
        unknown: RunnerError | None = None
        lacking: NoArchive | None = None
        for name, project, answer in asked:
            try:
                found.append(Named(name, project, answer()))
            except (Unavailable, ArchiveUnavailable) as error:
                if not self.several:
                    raise
                away.append(Named(name, project, error))
            except (UnknownRun, UnknownJob) as error:
                unknown = unknown or error
            except NoArchive as error:
                lacking = error
        if lacking is not None and unknown is None and not found and not away:
            raise lacking
        if unknown is not None and not found:
            raise self._not_known(unknown, away)
        return Together(found, away)

    def _not_known(self, unknown: RunnerError, away: Sequence[Named[RunnerError]]) -> RunnerError:
        if not away:
            return unknown
        names = ", ".join(error.name for error in away)
        return Unavailable(f"{unknown.message}, and {names} cannot be asked", hint=away[0].value.hint)

    def find_run(self, reference: str, *, archived: bool = False) -> Named[Run]:
        """Return the run for ``reference`` from the project that knows it; ``archived``: from its archive only.

        Raises:
            UsageError: see :func:`runner.actions.find.find_id`.
            UnknownRun: no project knows it.
            AmbiguousId: it matches runs of several projects.
            Unavailable: no reachable project knows it.
        """
        together = self.read(lambda project: find_run(project, reference, archived=archived))
        if not together.found:
            raise together.away[0].value
        if len({of.value.id for of in together}) > 1:
            names = ", ".join(of.name for of in together)
            raise AmbiguousId(f"{reference} fits runs of {names}", hint="give the full id, or name one project")
        return together.found[0]

    def list_runs(self, query: RunQuery, *, limit: int, cursor: str | None = None) -> JointPage:
        """Return a page of matching runs of all projects.

        Raises:
            UsageError: see :func:`runner.actions.find.list_runs`; or the cursor does not belong to these projects.
            UnknownRun, UnknownJob, Unavailable: see :meth:`read`.
        """
        if not self.several:
            page = list_runs(self.first, query, limit=limit, cursor=cursor)
            [name] = self.by_name
            runs = [Named(name, self.first, run) for run in page.runs]
            return JointPage(Together([Named(name, self.first, page)], ()), runs, page.cursor)
        begins = self._read_cursor(cursor)

        def page_of(project: Project) -> Page | None:
            begin = begins[id(project)]
            return None if begin == _END else list_runs(project, query, limit=limit, cursor=begin or None)

        read = self.read(page_of)
        pages = Together([Named(of.name, of.project, of.value) for of in read if of.value is not None], read.away)
        runs = [Named(of.name, of.project, run) for of in pages for run in of.value.runs]
        if len(pages.found) > 1:  # the runs of a flow have their own order, and belong to one project
            runs.sort(key=_order(query), reverse=query.sort != "oldest")
        return JointPage(pages, runs[:limit], self._cursor(pages, runs[:limit], begins))

    def _read_cursor(self, cursor: str | None) -> dict[int, str]:
        parts = cursor.split(",") if cursor is not None else [""] * len(self.by_name)
        if len(parts) != len(self.by_name):
            raise UsageError(
                f"{cursor!r} is not a cursor of these {len(self.by_name)} projects",
                hint="name the projects as for the page before, in the same order",
            )
        return {id(project): part for project, part in zip(self.by_name.values(), parts, strict=True)}

    def _cursor(self, pages: Together[Page], shown: Sequence[Named[Run]], begins: dict[int, str]) -> str | None:
        """Return the cursor of each project's next page: after its last shown run, or that of its page."""
        parts = {id(project): _END for project in self.by_name.values()}
        parts |= {id(of.project): begins[id(of.project)] for of in pages.away}
        for of in pages:
            runs = [run.value for run in shown if run.project is of.project]
            if len(runs) == len(of.value.runs):
                parts[id(of.project)] = of.value.cursor or _END
            else:
                parts[id(of.project)] = _after(runs[-1]) if runs else begins[id(of.project)]
        ended = all(part == _END for part in parts.values())
        return None if ended else ",".join(parts.values())


def _order(query: RunQuery) -> Callable[[Named[Run]], Any]:
    if query.sort == "longest":
        return lambda run: _took(run.value)
    return lambda run: (run.value.submitted_at or "", run.value.id)


def _after(run: Run) -> str:
    """Return the cursor for the page after ``run``."""
    at = 0.0 if run.submitted_at is None else to_datetime(run.submitted_at).timestamp()
    return f"{round(at * 1000)}:{run.id}"


def _took(run: Run) -> float:
    if run.started_at is None or run.finished_at is None:
        return 0.0
    return (to_datetime(run.finished_at) - to_datetime(run.started_at)).total_seconds()


def names_of(folders: Sequence[Path]) -> list[str]:
    """Return a unique name for each folder: its last part, with preceding parts if necessary."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["-".join(part for part in folder.parts[-parts:] if part != folder.anchor) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [f"{folder.name}-{number}" for number, folder in enumerate(folders, 1)]
