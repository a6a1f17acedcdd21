"""Circles of jobs that name each other."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TypeVar

from runner.model.message import advise

Where = TypeVar("Where", bound=Hashable)


def circles(edges: Mapping[tuple[str, str], Where]) -> Iterator[tuple[str, Where, str]]:
    """Yield each edge that closes a circle: the job that it leads from, where it stands, and the circle in words.

    Args:
        edges: pairs of a job and one that it names, with the place where it does.
    """
    left = dict(edges)
    while True:
        graph: dict[str, list[str]] = {}
        for job, target in left:
            graph.setdefault(job, []).append(target)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # A list of names, each the predecessor of the next: the edges lead the other way.
            found = list(reversed(error.args[1]))[1:]
            # In words it begins with the same job whichever one it was found at.
            first = found.index(min(found))
            circle = [*found[first:], *found[:first], found[first]]
            for job, target in pairwise(circle):
                what = f"leads in a circle: {' -> '.join(circle)}"
                yield (
                    job,
                    left.pop((job, target)),
                    advise(what, "remove this entry, or another one of the circle", "; "),
                )
        else:
            return
