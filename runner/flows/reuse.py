"""Decide which steps run again when a flow is rerun from its failed steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.flows.decide import in_order
from runner.model.step import Step


class FormerStep(NamedTuple):
    """A step of the former flow."""

    succeeded: bool
    """Whether it has ended without a failed run; a skipped step counts."""
    digest: str | None
    """The digest of its runs' job; None without runs."""


def steps_that_run(
    graph: Mapping[str, Step], digests: Mapping[str, str], former: Mapping[str, FormerStep]
) -> dict[str, str | None]:
    """Return the steps that run again, with the reasons for those that had succeeded.

    A step runs again if one of its needs does, because it had used the former results.

    Args:
        graph: the steps of the new flow.
        digests: the current digests of its steps' jobs.
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
