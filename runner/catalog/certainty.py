"""Find the steps of a flow that have certainly run, or succeeded, whenever another one runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.model.step import Step


class Known(NamedTuple):
    """The steps that have certainly succeeded when a step runs, and those that have run all their items."""

    succeeded: frozenset[str] = frozenset()
    ran: frozenset[str] = frozenset()


class Certainty:
    """The certain outcomes of the steps of one flow. The steps that are queried must not be in a circle."""

    def __init__(self, steps: Mapping[str, Step], *, stops: bool = False) -> None:
        """``stops``: after a failure, only steps that clean up, and steps that need these, still run."""
        self._steps = steps
        self._stops = stops
        self._known: dict[str, Known] = {}

    def of(self, name: str, *, with_if: bool = True) -> Known:
        """Return the steps that have certainly succeeded, or run, when a step runs.

        ``with_if``: its own ``if`` was true, so a step with the same ``if`` was not skipped.
        """
        step = self._steps[name]
        known = self._before(name)
        if not with_if or step.if_ is None or step.when != "succeeded":
            return known
        succeeded, ran = set(known.succeeded), set(known.ran)
        for needed in step.needs:
            other = self._steps[needed]
            if other.if_ == step.if_ and other.when != "failed" and not other.may_fail:
                succeeded.add(needed)
                ran.add(needed)
        return Known(frozenset(succeeded), frozenset(ran))

    def _before(self, name: str) -> Known:
        """Return the same for the time when the needs of a step are met. Not recursive: a chain may be long."""
        left, opened = [name], set[str]()
        while left:
            needed = left.pop()
            if needed in self._known:
                continue
            if needed in opened:
                self._known[needed] = self._follow(needed)
            else:
                opened.add(needed)
                left.append(needed)
                left += [need for need in self._steps[needed].needs if need in self._steps and need not in opened]
        return self._known[name]

    def _follow(self, name: str) -> Known:
        step = self._steps[name]
        needs = {needed: self._steps[needed] for needed in step.needs if needed in self._steps}
        succeeded: set[str] = set()
        ran: set[str] = set()
        if step.when == "succeeded":
            for needed, other in needs.items():
                if other.may_fail or other.when == "failed":
                    continue
                # It succeeded, or its needs were met and its `if` was false.
                before = self._known.get(needed, Known())  # in a circle, nothing is certain
                succeeded |= before.succeeded
                ran |= before.ran
                if other.if_ is None:
                    succeeded.add(needed)
                    ran.add(needed)
        if self._stops and self._runs_after_a_stop(name):
            return Known(frozenset(succeeded), frozenset(ran))
        met = {needed for needed in needs if step.when == "succeeded"} | succeeded
        for needed, other in needs.items():
            if needed not in ran and other.if_ is None and self._was_admitted(other, met):
                before = self._known.get(needed, Known())
                succeeded |= before.succeeded
                ran |= {*before.ran, needed}
        return Known(frozenset(succeeded), frozenset(ran))

    def _runs_after_a_stop(self, name: str) -> bool:
        seen: set[str] = set()
        left = [name]
        while left:
            name = left.pop()
            if name not in seen and name in self._steps:
                seen.add(name)
                if self._steps[name].when != "succeeded":
                    return True
                left += self._steps[name].needs
        return False

    def _was_admitted(self, step: Step, met: set[str]) -> bool:
        """Return whether a step that has ended was started; ``met``: steps that did not prevent it."""
        if step.when == "succeeded":
            return all(name in met or self._steps[name].may_fail for name in step.needs if name in self._steps)
        return step.when == "ended"
