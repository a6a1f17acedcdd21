"""Write the graph of a flow as text, for Mermaid, and for Graphviz. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.flows.decide import Node
from runner.flows.layout import layers_of
from runner.model.duration import format_duration
from runner.model.job import JobSpec
from runner.model.option import known_options
from runner.model.plural import things
from runner.model.step import Step

_LONGEST = 60
"""The maximum length of a value in the text (characters)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the tree of a graph, in which each step is below the last of its needs."""

    branch: str
    """The tree lines before the name."""
    name: str
    also: tuple[str, ...] = ()
    """The other needs of the step."""


def tree(graph: Mapping[str, Node]) -> list[Row]:
    """Return the steps as a tree, each below its deepest need."""
    layers = layers_of(graph)
    below: dict[str | None, list[str]] = {}
    parents: dict[str, str | None] = {}
    for name, step in graph.items():
        needs = [need for need in step.needs if layers.get(need, layers[name]) < layers[name]]
        # The last of the deepest ones, so that a join is drawn below the branch right above it.
        parent = max(reversed(needs), key=layers.__getitem__, default=None)
        parents[name] = parent
        below.setdefault(parent, []).append(name)
    rows = []
    waiting = [(name, "", "") for name in reversed(below.get(None, []))]
    while waiting:
        name, branch, indent = waiting.pop()
        rows.append(Row(branch, name, tuple(need for need in graph[name].needs if need != parents[name])))
        children = below.get(name, [])
        found = [(child, f"{indent}├─ ", f"{indent}│  ") for child in children[:-1]]
        found += [(child, f"{indent}└─ ", f"{indent}   ") for child in children[-1:]]
        waiting += reversed(found)
    return rows


def as_text(flow: JobSpec) -> str:
    """Return the steps as a tree, with one line per step: what it runs, and when."""
    rows = tree(flow.steps)
    width = max((len(row.branch) + len(row.name) for row in rows), default=0)
    lines = []
    for row in rows:
        step = flow.steps[row.name]
        also = [f"also needs {', '.join(row.also)}"] if row.also else []
        description = "; ".join([what(step), *also, *marks(step)])
        lines.append(f"{row.branch + row.name:{width}}  {description}")
    return "\n".join(lines)


def what(step: Step) -> str:
    """Return the type and target of a step: ``task etl:load``."""
    if step.approval is not None:
        within = step.approval.within
        return "approval" if within is None else f"approval within {format_duration(within)}"
    return f"job {step.job}" if step.job is not None else f"task {step.task}"


def marks(step: Step) -> Iterator[str]:
    """Yield the special options of a step as text."""
    if step.when != "succeeded":
        yield f"when {step.when}"
    if step.if_ is not None:
        yield f"if {_cut(step.if_)}"
    if step.each is not None:
        yield f"each of {_each(step.each)}"
    if step.at_once is not None:
        yield f"{step.at_once:,} at once"
    if step.may_fail:
        yield "may fail"


def _each(each: Any) -> str:
    if isinstance(each, Mapping):
        return " x ".join(f"{name} ({_each(items)})" for name, items in each.items())
    return _cut(each) if isinstance(each, str) else things(len(each), "item")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def as_mermaid(flow: JobSpec) -> str:
    """Return the graph as a Mermaid flowchart."""
    ids = {name: f"s{number}" for number, name in enumerate(flow.steps)}
    lines = ["flowchart LR"]
    for name, step in flow.steps.items():
        opening, closing = _MERMAID_SHAPES[step.kind]
        label = "<br/>".join(_for_mermaid(text) for text in _label(name, step))
        lines.append(f'  {ids[name]}{opening}"{label}"{closing}')
    for name, step in flow.steps.items():
        arrow = "-->" if step.when == "succeeded" else f"-. {step.when} .->"
        lines += [f"  {ids[need]} {arrow} {ids[name]}" for need in step.needs]
    return "\n".join(lines)


def as_dot(flow: JobSpec) -> str:
    """Return the graph in DOT, the language of Graphviz."""
    lines = [f"digraph {_for_dot(flow.name)} {{", "  rankdir=LR;", "  node [shape=box];"]
    for name, step in flow.steps.items():
        label = f"label={_for_dot(*_label(name, step))}"
        lines.append(f"  {_for_dot(name)} [{', '.join([label, *_DOT_SHAPES[step.kind]])}];")
    for name, step in flow.steps.items():
        style = "" if step.when == "succeeded" else f" [style=dashed, label={_for_dot(step.when)}]"
        lines += [f"  {_for_dot(need)} -> {_for_dot(name)}{style};" for need in step.needs]
    return "\n".join([*lines, "}"])


def as_document(flow: JobSpec) -> dict[str, Any]:
    """Return the graph as JSON; ``layer`` counts from 0 and is higher than the layers of the needs."""
    layers = layers_of(flow.steps)
    shown = ("when", "if", "each", "at_once", "may_fail", "task", "job", "approval")
    known = known_options(Step)
    steps = []
    for name, step in flow.steps.items():
        held = {key: getattr(step, known[key].field) for key in shown}
        written = {key: None if value is None else known[key].type.write(value) for key, value in held.items()}
        steps.append({"name": name, "kind": step.kind, "layer": layers[name], "needs": list(step.needs), **written})
    return {"job": flow.name, "on_failure": flow.on_failure, "steps": steps}


_MERMAID_SHAPES = {"task": ("[", "]"), "job": ("[[", "]]"), "approval": ("{{", "}}")}
_DOT_SHAPES = {"task": (), "job": ("peripheries=2",), "approval": ("shape=hexagon",)}


def _label(name: str, step: Step) -> list[str]:
    return [name, what(step), *(mark for mark in marks(step) if not mark.startswith("when "))]


def _for_mermaid(text: str) -> str:
    """Return a text for a quoted label, with special characters of Mermaid and HTML as numeric entities."""
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in text)


_PLAIN = frozenset(" .:,-…()/+")


def _for_dot(*lines: str) -> str:
    """Return a quoted text, with ``\\n`` between the lines."""
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return '"' + "\\n".join(escaped) + '"'
