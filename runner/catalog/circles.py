"""Find circles of jobs, or of steps, that refer to each other."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TypeVar

from runner.model.message import advise

Position = TypeVar("Position", bound=Hashable)


def circles(edges: Mapping[tuple[str, str], Position]) -> Iterator[tuple[str, Position, str]]:
    """Yield each edge of a circle: the job that it starts from, its position, and a message that shows the circle.

    Args:
        edges: pairs of a job and another one that it refers to, with the position of the reference.
    """
    left = dict(edges)
    while True:
        graph: dict[str, list[str]] = {}
        for job, target in left:
            graph.setdefault(job, []).append(target)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # Each name is the predecessor of the next one: the edges point the other way.
            found = list(reversed(error.args[1]))[1:]
            # The message begins with the same job, whichever one the search found first.
            first = found.index(min(found))
            circle = [*found[first:], *found[:first], found[first]]
            for job, target in pairwise(circle):
                what = f"is part of a circle: {' -> '.join(circle)}"
                message = advise(what, "remove it, or another part of the circle", "; ")
                yield job, left.pop((job, target)), message
        else:
            return
