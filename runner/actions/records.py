"""Read runs from the ledger, and from the archive those that the ledger has dropped.

All readers of runs use this module. Only runs that the ledger does not know are read from the archive. If it cannot be
reached, the answer comes from the ledger only, and :attr:`runner.archive.behind.Behind.tell_away` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from runner.errors import UnknownRun
from runner.model.run import FINAL, Run
from runner.model.run_page import Part, longest, merge
from runner.model.run_query import RunQuery

if TYPE_CHECKING:
    from runner.archive.behind import Behind
    from runner.archive.reader import Reader
    from runner.ledger.ledger import Ledger
    from runner.ledger.search import Page

T = TypeVar("T")


class Records:
    """The runs of a project.

    Every method raises :class:`~runner.errors.Unavailable` if Redis cannot be reached. With ``only_archive``, Redis
    is not used, and :class:`~runner.errors.ArchiveUnavailable` is raised if the archive cannot be reached.
    """

    def __init__(self, open_ledger: Callable[[], Ledger], behind: Behind, *, only_archive: bool = False) -> None:
        self._open_ledger = open_ledger
        self._behind = behind
        self._only_archive = only_archive
        if only_archive:
            _ = behind.archive  # at once, because there may be none

    # -- one run

    def resolve(self, reference: str) -> str:
        """Return the full id for ``reference``: an id, a unique prefix, or ``@JOB`` for the latest run.

        Raises:
            UnknownRun: no run matches.
            AmbiguousId: several runs match, or the prefix is too short.
        """
        from runner.ledger.ledger import choose  # start-up time: `runs` resolves nothing

        if reference.startswith("@"):
            return self._latest(reference[1:])
        found = [] if self._only_archive else self._open_ledger().find_ids(reference)
        if reference not in found:
            found = sorted({*found, *(self.ask(lambda reader: reader.find(reference)) or [])})
        return choose(reference, found)

    def _latest(self, job: str) -> str:
        if not self._only_archive and (latest := self._open_ledger().runs(job=job, limit=1)):
            return latest[0].id
        query = RunQuery(job=job)
        found = self.ask(lambda reader: reader.page(query, limit=1))
        if found is None or not found.runs:
            raise UnknownRun(f"job {job} has no runs", hint=f"submit one with: runner submit {job}")
        return found.runs[0].id

    def get(self, run_id: str) -> Run:
        """Return a run by its full id. A result that has expired in Redis is taken from the archive.

        Raises:
            UnknownRun: it was never submitted, was forgotten, or was pruned.
        """
        from runner.ledger.reading import unknown_run  # start-up time: `runs` gets no run by its id

        run = next(iter(self.read([run_id])), None)
        if run is None:
            raise unknown_run(run_id)
        if run.result_expired and not run.archived:
            kept = next(iter(self.archived([run_id])), None)
            if kept is not None and not kept.result_expired:
                return replace(run, result=kept.result, result_expired=False)
        return run

    def read(self, ids: Sequence[str]) -> list[Run]:
        """Return the known runs among ``ids``, in the same order."""
        found = {} if self._only_archive else {run.id: run for run in self._open_ledger().read(ids)}
        if lost := [run_id for run_id in ids if run_id not in found]:
            found |= {run.id: run for run in self.archived(lost)}
        return [found[run_id] for run_id in ids if run_id in found]

    def archived(self, ids: Sequence[str]) -> list[Run]:
        """Return the archived runs among ``ids``."""
        return self.ask(lambda reader: reader.read(ids)) or []

    # -- lists

    def page(self, query: RunQuery, *, limit: int, cursor: str | None = None) -> Page:
        """Return a page of matching runs from the ledger and the archive, like :func:`runner.ledger.search.search`.

        All runs of a flow are in one of them. ``query.flow`` is a full id.

        Raises:
            UsageError: the cursor is invalid, or the query has no pages.
        """
        from runner.ledger.search import first_position, page_of, part_of, search  # start-up time: only lists search

        if query.archived and not self._only_archive:
            archive = Records(self._open_ledger, self._behind, only_archive=True)
            return archive.page(query, limit=limit, cursor=cursor)
        after = first_position(query, cursor)
        parts: list[Part] = []
        ledger = None if self._only_archive else self._open_ledger()
        may_be_archived = self._behind.exists and (not query.state or any(state in FINAL for state in query.state))
        if ledger is not None and may_be_archived and query.flow is not None:
            may_be_archived = not ledger.read([query.flow])
            ledger = None if may_be_archived else ledger
        if ledger is not None:
            page = search(ledger, query, limit=limit, cursor=cursor)
            if not may_be_archived:
                return page
            parts.append(part_of(page))
        parts.append(self.ask(lambda reader: reader.page(query, limit=limit, after=after)) or Part([], None))
        if query.sort == "longest":
            return page_of(parts, longest(parts, limit=limit))
        return page_of(parts, merge(parts, limit=limit, newest=query.sort == "newest"))

    # -- queries

    def ask(self, question: Callable[[Reader], T]) -> T | None:
        """Return the archive's answer; None without an archive, or if it is unreachable and the ledger is read, too."""
        return question(self._behind.reader) if self._only_archive else self._behind.ask(question)
