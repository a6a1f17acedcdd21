"""The parts of a flow's page: the table of its steps, its graph, a Gantt chart, and the approvals it waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.catalog.steps import flow_of
from runner.ledger.reach import reaching
from runner.model.run import Run, State, to_datetime
from runner.model.step import Approval, Step
from runner.web.drawing import Drawing, draw
from runner.web.gantt import Gantt, gantt
from runner.web.steps import MOST_ROWS, StepRow, shown_rows, step_rows

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.ledger import Ledger

MOST_DRAWN = 150
"""Steps of the largest graph that is drawn; the steps of larger ones are only listed."""

MOST_LOGS = 500
"""Step runs of the largest flow whose log a page follows."""


@dataclass(frozen=True, slots=True)
class FlowPage:
    """The steps of a flow as a page shows them."""

    rows: list[StepRow]
    shown: list[StepRow]
    drawing: Drawing | None
    chart: Gantt | None
    now: int
    runs: int
    """The number of step runs."""

    @property
    def log_shown(self) -> bool:
        """Whether the page shows the log of the steps; that of a larger flow is read only on request."""
        return self.runs <= MOST_LOGS


def graph_of(ledger: Ledger, flow_id: str) -> Mapping[str, Step]:
    """Return the steps of a flow as they were when it was submitted; empty if they cannot be read.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(ledger.settings):
        text = ledger.client.hget(ledger.keys.run(flow_id), "graph")
    return _graph(text) if isinstance(text, str) else {}


def _plain_graph(flow: Run) -> Mapping[str, Step]:
    """Return the steps of an archived flow with what its run document has of them: needs, items, and approvals."""
    return {
        str(step["name"]): Step(
            needs=tuple(step["needs"]),
            each=None if step["run"] else (),
            approval=Approval() if step["kind"] == "approval" else None,
        )
        for step in flow.steps or ()
    }


@lru_cache(maxsize=32)
def _graph(text: str) -> Mapping[str, Step]:
    try:
        return MappingProxyType(dict(flow_of("flow", json.loads(text)).steps))
    except ValueError:
        return {}


def approvals_of(ledger: Ledger, run: Run, flow: FlowPage | None) -> list[Run]:
    """Return the runs whose approval a page can ask for: those that a flow waits for, or the run itself.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if flow is not None:
        ids = [row.run for row in flow.rows if row.waits and row.run is not None]
        return [found for found in ledger.read(ids) if found.state is State.PENDING] if ids else []
    if run.flow is None or run.step is None or run.state is not State.PENDING:
        return []
    step = graph_of(ledger, run.flow).get(run.step)
    return [run] if step is not None and step.kind == "approval" else []


def flow_page(project: Project, run: Run, zone: ZoneInfo, *, whole: bool) -> FlowPage | None:
    """Return the view of a flow; None for other runs.

    Args:
        project: the project of the run.
        run: the run.
        zone: the time zone of the page.
        whole: show all steps, even of a large flow.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if run.steps is None:
        return None
    graph = _plain_graph(run) if run.archived else graph_of(project.ledger, run.id)
    return page_of(run, graph, round(time.time() * 1000), zone, whole=whole)


def page_of(run: Run, graph: Mapping[str, Step], now: int, zone: ZoneInfo, *, whole: bool) -> FlowPage:
    """Return the view of a flow at a time, in Unix milliseconds."""
    now = _milliseconds(run.finished_at) or now
    rows = step_rows(run, graph)
    shown = shown_rows(rows, whole=whole)
    begin = _milliseconds(run.started_at)
    chart = None
    if begin is not None and any(row.began is not None for row in shown):
        chart = gantt(shown, begin, now, now, zone)
    drawing = draw(graph, rows, now) if graph and len(graph) <= MOST_DRAWN else None
    return FlowPage(rows, shown, drawing, chart, now, sum(step["items"] or 0 for step in run.steps or ()))


def declared_graph(steps: Mapping[str, Step]) -> Drawing | None:
    """Return the picture of the steps of a job; None if it has no steps, or too many."""
    return draw(steps) if 0 < len(steps) <= MOST_DRAWN else None


def shown_document(run: Run) -> dict[str, Any]:
    """Return the run document; for a large flow, without its steps."""
    document = run.document()
    if len(run.steps or ()) > MOST_ROWS:
        del document["steps"]
    return document


def _milliseconds(timestamp: str | None) -> int | None:
    return None if timestamp is None else round(to_datetime(timestamp).timestamp() * 1000)
