"""List the jobs of a project with their pauses, last outcomes, and next slots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.actions.upcoming import next_slots
from runner.errors import Unavailable
from runner.ledger.pauses import read_pauses
from runner.ledger.standings import Last, read_standings
from runner.model.job_document import job_document
from runner.model.pause import Pause, paused

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.store import Store
    from runner.model.job import JobSpec


@dataclass(frozen=True, slots=True)
class Known:
    """The ledger's facts about jobs, by name; empty if Redis cannot be reached."""

    pauses: Mapping[str, Pause] = field(default_factory=dict)
    last: Mapping[str, Last] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job and its standing. ``next`` is its next slot (Unix ms)."""

    job: JobSpec
    pause: Pause | None
    last: Last | None
    next: int | None

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        last = self.last.document() if self.last is not None else None
        return job_document(self.job, self.pause, last=last, following=self.next)


def describe_jobs(
    project: Project,
    names: Iterable[str],
    store: Store | None = None,
    on_unavailable: Callable[[Unavailable], None] = lambda _: None,
) -> Iterator[ListedJob]:
    """Yield jobs with their standings.

    Args:
        project: the project of the jobs.
        names: the names of jobs in the catalog.
        store: the ledger's store; None: open one, and leave the standings out if Redis cannot be reached.
        on_unavailable: called in that case.

    Raises:
        Unavailable: Redis cannot be reached, and ``store`` is given.
    """
    wanted = list(names)
    known = _known(project, wanted, on_unavailable) if store is None else _read(store, wanted)
    following = next_slots(project, wanted)
    for name in wanted:
        yield ListedJob(
            project.catalog.jobs[name], paused(known.pauses, name), known.last.get(name), following.get(name)
        )


def _known(project: Project, names: list[str], on_unavailable: Callable[[Unavailable], None]) -> Known:
    try:
        with _opened(project) as store:
            return _read(store, names)
    except Unavailable as error:
        on_unavailable(error)
        return Known()


def _read(store: Store, names: list[str]) -> Known:
    standings = read_standings(store, names)
    return Known(
        read_pauses(store),
        {name: standing.last for name, standing in standings.items() if standing.last is not None},
    )


@contextmanager
def _opened(project: Project) -> Iterator[Store]:
    """Open the ledger without starting an embedded server."""
    from runner.ledger.ledger import Ledger  # start-up time: who gives a ledger has it open

    ledger = Ledger.open(project.settings, start=False)
    try:
        yield ledger
    finally:
        ledger.close()
