"""Read the steps of a flow for people: each with its only run, its failed items, or the steps of its own flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.model.run import Run, State
from runner.model.run_query import RunQuery

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.records import Records

DEEPEST = 4
"""The maximum depth of nested flows in a catalog."""
MOST_FAILED = 5
"""The maximum number of failed items of a step that are shown."""
_LOOK = 500
"""The maximum number of failed step runs of a flow that are read for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A step of a flow, as in ``steps`` of the run document."""

    name: str
    state: State
    reason: str | None = None
    needs: Sequence[str] = ()
    items: int | None = None
    """The number of its runs; None if not known yet."""
    counts: Mapping[str, int]
    started_at: str | None = None
    finished_at: str | None = None
    run: Run | None = None
    """The run of a step without ``each``, once it exists."""
    failed: Sequence[Run] = ()
    """Some of its failed items."""
    branches: Sequence[Branch] = ()
    """The steps of its run, if that is a flow."""

    @property
    def fans_out(self) -> bool:
        """Return whether it has a run for each item of a list."""
        return self.run is None and self.items is not None


def branch_of(document: Mapping[str, Any]) -> Branch:
    """Return a step from the run document, without its run."""
    return Branch(
        name=document["name"],
        state=State(document["state"]),
        reason=document.get("reason"),
        needs=document.get("needs") or (),
        items=document.get("items"),
        counts=document.get("counts") or {},
        started_at=document.get("started_at"),
        finished_at=document.get("finished_at"),
    )


def read_branches(project: Project, flow: Run, *, deepest: int = DEEPEST) -> list[Branch]:
    """Return the steps of a flow in order; an empty list for other runs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    documents = flow.steps or []
    ids = [document["run"] for document in documents if document.get("run")]
    runs = {run.id: run for run in _records(project, flow).read(ids)}
    failed = _failed(project, flow)
    found = []
    for document in documents:
        run = runs.get(document.get("run") or "")
        plain = branch_of(document)
        below = (
            read_branches(project, run, deepest=deepest - 1) if run is not None and run.steps and deepest > 1 else ()
        )
        items = () if run is not None else [item for item in failed if item.step == plain.name][:MOST_FAILED]
        values = {name: getattr(plain, name) for name in _PLAIN}
        found.append(Branch(**values, run=run, failed=items, branches=below))
    return found


_PLAIN = ("name", "state", "reason", "needs", "items", "counts", "started_at", "finished_at")


def _failed(project: Project, flow: Run) -> list[Run]:
    wide = any(not step.get("run") and (step.get("counts") or {}).get(State.FAILURE) for step in flow.steps or ())
    if not wide:
        return []
    query = RunQuery(flow=flow.id, state=[State.FAILURE], sort="oldest")
    return _records(project, flow).page(query, limit=_LOOK).runs


def _records(project: Project, flow: Run) -> Records:
    # All runs of a flow are in one place.
    return project.reading(archived=flow.archived)
