"""Decide which steps of a flow run again when it is run again from where it failed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.flows.decide import in_order
from runner.model.step import Step


class FormerStep(NamedTuple):
    """A step of the flow that is run again."""

    succeeded: bool
    """Whether it ended, and no run of it failed; a skipped one counts."""
    digest: str | None
    """That of the job of its runs; None if it has none."""


def steps_that_run(
    graph: Mapping[str, Step], digests: Mapping[str, str], former: Mapping[str, FormerStep]
) -> dict[str, str | None]:
    """Return the steps that run again, each with the reason if it had succeeded.

    A step runs again if one that it needs does: what it had done, it had done with what the other had left.

    Args:
        graph: the steps of the new flow.
        digests: of the jobs of its steps, as they are now.
        former: the steps of the former flow.
    """
    found: dict[str, str | None] = {}
    for name in in_order(graph):
        before = former.get(name)
        again = next((need for need in graph[name].needs if need in found), None)
        if before is None or not before.succeeded:
            found[name] = None
        elif again is not None:
            found[name] = f"it needs {again}, which runs again"
        elif before.digest is not None and digests.get(name) not in (None, before.digest):
            found[name] = "it has changed since"
    return {name: found[name] for name in graph if name in found}
