"""The overview of all projects, if ``runner web`` serves several, and their list in the API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from runner._dataclass import dataclass
from runner.ledger.fleet import read_workers
from runner.ledger.pauses import read_pauses
from runner.ledger.search import search
from runner.ledger.standings import count_states
from runner.model.run import State as RunState
from runner.model.run_query import RunQuery
from runner.web import documents
from runner.web.documents import answers
from runner.web.failures import group_failures
from runner.web.render import page
from runner.web.requests import Reader, StrictRoute, answer
from runner.web.state import states_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.actions.project import Project
    from runner.model.run import Run

router = APIRouter(prefix="/api/v1", route_class=StrictRoute, dependencies=[Reader])

FEW = 20
"""How many failed runs of each project the overview reads, to show them in groups."""
MOST_GROUPS = 15


@dataclass(frozen=True, slots=True)
class Summary:
    """A project in the list of all: its runs by state, the failures of the last day, and what wants attention."""

    counts: Mapping[RunState, int]
    failed: Sequence[Run]
    workers: int
    pauses: int
    problems: int

    @classmethod
    def of(cls, project: Project) -> Summary:
        """Read the summary of a project.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        project.look()
        ledger = project.ledger
        query = RunQuery(state=(RunState.FAILURE,), since=time.time() - 86400)
        return cls(
            counts=count_states(ledger),
            failed=search(ledger, query, limit=FEW).runs,
            workers=sum(not worker.lost for worker in read_workers(ledger)),
            pauses=len(read_pauses(ledger)),
            problems=len(project.catalog.problems),
        )


def show_all(request: Request) -> Response:
    """Show all projects with the number of their runs and their failures, and the projects whose Redis is away."""
    found = states_of(request).projects.read_at_once(Summary.of)
    failed = [(of.name, group) for of in found.found for group in group_failures(of.value.failed)]
    failed.sort(key=lambda named: named[1].newest.finished_at or "", reverse=True)
    return page(request, "projects", found=found.found, away=found.away, failed=failed, most_groups=MOST_GROUPS)


@router.get("/projects", **answers(documents.Projects))
def list_projects(request: Request) -> Response:
    """Return the projects that are served, with their runs by state; one whose Redis is away has an error instead."""
    projects = states_of(request).projects
    found = projects.read_at_once(lambda project: count_states(project.ledger))
    counts: dict[str, Any] = {of.name: of.value for of in found}
    errors = {of.name: of.value.as_dict()["error"] for of in found.away}
    return answer(
        {
            "projects": [
                {
                    "name": name,
                    "namespace": project.settings.namespace,
                    "folder": str(project.settings.project),
                    "states": counts.get(name),
                    "error": errors.get(name),
                }
                for name, project in projects.by_name.items()
            ]
        }
    )
