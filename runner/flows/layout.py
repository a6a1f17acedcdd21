"""Compute the layout of a flow's graph in layers from left to right. Pure.

This is Sugiyama's method: a step is one layer after the last of its needs; sweeps by the mean position of the neighbors
reduce crossings; then each step moves as close to its neighbors as its layer permits.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence

from runner._dataclass import dataclass
from runner.flows.decide import Node, in_order

CHARACTER = 8.0
"""The width of a character in the font of a box."""
PADDING = 32.0
NARROWEST, WIDEST = 96.0, 272.0
HEIGHT = 48.0
BETWEEN_LAYERS, BETWEEN_BOXES = 64.0, 24.0
MARGIN = 16.0
SWEEPS = 8
MOST_LINES_SWEPT = 5_000
"""The number of steps above which the order is kept: crossings of a larger graph do not matter."""


@dataclass(frozen=True, slots=True)
class Box:
    """The box of a step: ``x`` and ``y`` are its upper left corner."""

    name: str
    label: str
    """The name, cut if it is too long."""
    layer: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line from a step to one that needs it, as the ``d`` attribute of an SVG path."""

    need: str
    step: str
    when: str
    path: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a graph; boxes are in the order of the graph."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def layers_of(graph: Mapping[str, Node]) -> dict[str, int]:
    """Return the layer of each step, from 0: one more than the highest layer of its needs."""
    layers: dict[str, int] = {}
    for name in in_order(graph):
        layers[name] = max((layers[need] + 1 for need in graph[name].needs if need in layers), default=0)
    return {name: layers[name] for name in graph}


_Key = tuple[str, str, int]
"""A step, or the point where a line crosses a layer: its ends and the layer."""


def layout(graph: Mapping[str, Node], *, narrowest: float = NARROWEST) -> Layout:
    """Return the layout of a graph; boxes are at least ``narrowest`` wide."""
    layers = layers_of(graph)
    columns: list[list[_Key]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for name, layer in layers.items():
        columns[layer].append((name, "", layer))
    before: dict[_Key, list[_Key]] = {}
    after: dict[_Key, list[_Key]] = {}
    courses: dict[tuple[str, str], list[_Key]] = {}
    for name, step in graph.items():
        for need in dict.fromkeys(step.needs):
            if need not in layers or layers[need] >= layers[name]:
                continue
            passed: list[_Key] = [(need, name, layer) for layer in range(layers[need] + 1, layers[name])]
            for key in passed:
                columns[key[2]].append(key)
            course: list[_Key] = [(need, "", layers[need]), *passed, (name, "", layers[name])]
            courses[need, name] = course
            for left, right in itertools.pairwise(course):
                after.setdefault(left, []).append(right)
                before.setdefault(right, []).append(left)
    if sum(map(len, after.values())) <= MOST_LINES_SWEPT:
        columns = _untangled(columns, before, after)
    return _placed(graph, layers, columns, before, after, courses, narrowest)


def _untangled(
    columns: list[list[_Key]], before: Mapping[_Key, list[_Key]], after: Mapping[_Key, list[_Key]]
) -> list[list[_Key]]:
    best, fewest = columns, _crossings(columns, after)
    columns = [list(column) for column in columns]
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        neighbors, numbers = (
            (before, range(1, len(columns))) if sweep % 2 == 0 else (after, range(len(columns))[-2::-1])
        )
        for number in numbers:
            positions = {key: position for column in columns for position, key in enumerate(column)}
            column = columns[number]
            columns[number] = sorted(
                column, key=lambda key: _mean([positions[neighbor] for neighbor in neighbors.get(key, [key])])
            )
        if (found := _crossings(columns, after)) < fewest:
            best, fewest = [list(column) for column in columns], found
    return best


def _crossings(columns: list[list[_Key]], after: Mapping[_Key, list[_Key]]) -> int:
    crossings = 0
    for left, right in itertools.pairwise(columns):
        positions = {key: position for position, key in enumerate(right)}
        seen: list[int] = []
        for key in left:
            ends = sorted(positions[successor] for successor in after.get(key, ()))
            crossings += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return crossings


def _placed(
    graph: Mapping[str, Node],
    layers: Mapping[str, int],
    columns: list[list[_Key]],
    before: Mapping[_Key, list[_Key]],
    after: Mapping[_Key, list[_Key]],
    courses: Mapping[tuple[str, str], list[_Key]],
    narrowest: float,
) -> Layout:
    middles = {key: position * (HEIGHT + BETWEEN_BOXES) for column in columns for position, key in enumerate(column)}
    for sweep in range(SWEEPS):
        neighbors, ordered = (before, columns) if sweep % 2 == 0 else (after, columns[::-1])
        for column in ordered:
            wanted = [_mean([middles[neighbor] for neighbor in neighbors.get(key, [key])]) for key in column]
            middles.update(zip(column, _apart(column, wanted), strict=True))
    top = min(middles.values(), default=0.0) - HEIGHT / 2 - MARGIN
    middles = {key: middle - top for key, middle in middles.items()}
    widths = [max([narrowest, *(_width(name) for name, to, _ in column if not to)]) for column in columns]
    lefts = [MARGIN + sum(widths[:layer]) + layer * BETWEEN_LAYERS for layer in range(len(widths))]
    boxes = {}
    for name in graph:
        layer = layers[name]
        y = middles[name, "", layer] - HEIGHT / 2
        boxes[name] = Box(name, _label(name), layer, lefts[layer], round(y, 1), widths[layer], HEIGHT)
    lines = []
    for (need, name), course in courses.items():
        points = [(lefts[key[2]] + at * widths[key[2]], middles[key]) for key in course for at in (0, 1)]
        lines.append(Line(need, name, graph[name].when, _path(points[1:-1])))
    width = (lefts[-1] + widths[-1] if lefts else 0) + MARGIN
    height = max(middles.values(), default=-HEIGHT / 2) + HEIGHT / 2 + MARGIN
    return Layout(round(width, 1), round(height, 1), tuple(boxes.values()), tuple(lines))


def _apart(column: Sequence[_Key], wanted: Sequence[float]) -> list[float]:
    """Return the positions closest to the wanted ones that keep the order and a distance between neighbors.

    Without the distances, this is isotonic regression (pool adjacent violators).
    """
    offsets = [0.0]
    for upper, lower in itertools.pairwise(column):
        # A line needs less space than a box.
        offsets.append(offsets[-1] + (HEIGHT + BETWEEN_BOXES if not (upper[1] and lower[1]) else BETWEEN_BOXES))
    blocks: list[tuple[float, int]] = []
    for position, offset in zip(wanted, offsets, strict=True):
        total, number = position - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / number:
            of_block, size = blocks.pop()
            total, number = total + of_block, number + size
        blocks.append((total, number))
    found = [total / number for total, number in blocks for _ in range(number)]
    return [position + offset for position, offset in zip(found, offsets, strict=True)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return curves between layers, and straight lines through crossed layers."""
    (x, y), *rest = points
    commands = [f"M{x:g} {y:.1f}"]
    for index, (to_x, to_y) in enumerate(rest):
        if index % 2:
            commands.append(f"H{to_x:g}")
        else:
            middle = (x + to_x) / 2
            commands.append(f"C{middle:g} {y:.1f} {middle:g} {to_y:.1f} {to_x:g} {to_y:.1f}")
        x, y = to_x, to_y
    return " ".join(commands)


def _mean(positions: Sequence[float]) -> float:
    return sum(positions) / len(positions)


def _width(name: str) -> float:
    return min(max(len(name) * CHARACTER + PADDING, NARROWEST), WIDEST)


def _label(name: str) -> str:
    most = int((WIDEST - PADDING) / CHARACTER)
    return name if len(name) <= most else name[: most - 1] + "…"
