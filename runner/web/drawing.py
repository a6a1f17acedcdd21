"""The graph of a flow as a picture. Positions are pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runner._dataclass import dataclass
from runner.flows.layout import Box, Layout, layout
from runner.flows.picture import marks, what
from runner.model.step import Step
from runner.web.steps import StepRow

WHOLE_WIDTH = 1500.0
"""A picture up to this width shrinks to fit the page; a wider one is scrolled."""
_NARROWEST = 148.0
"""Of a box, which has the name of a state in it."""
_LONGEST_LINE = 20
"""Characters of the second line of a box."""


@dataclass(frozen=True, slots=True)
class Node:
    """A step, as a box of two lines."""

    box: Box
    line: str
    title: str
    state: str | None
    """None for a step of a job, which has no state."""
    href: str | None
    many: bool
    """Whether it has a run for each item."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture: the positions of its parts, and the contents of its boxes."""

    layout: Layout
    nodes: list[Node]

    @property
    def fits(self) -> bool:
        """Whether it shrinks to fit the page."""
        return self.layout.width <= WHOLE_WIDTH


def draw(graph: Mapping[str, Step], rows: Iterable[StepRow] | None = None, now: int = 0) -> Drawing:
    """Return the picture of a graph.

    Args:
        graph: the steps.
        rows: the steps of a flow; None for the graph of a job.
        now: the time up to which the durations of running steps count, in Unix milliseconds.
    """
    arranged = layout(graph, narrowest=_NARROWEST)
    known = {row.name: row for row in rows or ()}
    nodes = [_node(box, graph[box.name], known.get(box.name), now) for box in arranged.boxes]
    return Drawing(arranged, nodes)


def _node(box: Box, step: Step, row: StepRow | None, now: int) -> Node:
    notes = [*([] if row is None else [row.line(now)]), what(step), *marks(step)]
    href = f"/jobs/{step.job}" if step.job is not None else None
    return Node(
        box=box,
        line=row.short(now) if row is not None else _declared(step),
        title=f"{box.name}: {', '.join(notes)}",
        state=None if row is None else row.state,
        href=href if row is None else row.href,
        many=step.each is not None,
    )


def _declared(step: Step) -> str:
    text = step.kind if step.job is None else f"job {step.job}"
    return shortened(f"{text} for each item" if step.each is not None else text, _LONGEST_LINE)


def shortened(text: str, most: int) -> str:
    """Return ``text``, cut to ``most`` characters with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
