"""Which steps of a flow have certainly run, or succeeded, whenever another one runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.model.step import Step


class Known(NamedTuple):
    """What is certain when a step runs: these have succeeded; these have run all their items, whatever came of it."""

    succeeded: frozenset[str] = frozenset()
    ran: frozenset[str] = frozenset()


class Certainty:
    """Answers for the steps of one flow, without circles among those that are asked for."""

    def __init__(self, steps: Mapping[str, Step], *, stops: bool = False) -> None:
        """``stops``: after a failure, all steps are terminated but those that clean up, and those that need them."""
        self._steps = steps
        self._stops = stops
        self._known: dict[str, Known] = {}

    def of(self, name: str, *, with_if: bool = True) -> Known:
        """Return the steps that have certainly succeeded, or run, when a step runs.

        ``with_if``: its own ``if`` gave true, so that a step with the same one was not skipped.
        """
        step = self._steps[name]
        known = self._before(name)
        if not with_if or step.if_ is None or step.when != "succeeded":
            return known
        succeeded, ran = set(known.succeeded), set(known.ran)
        for each in step.needs:
            other = self._steps[each]
            if other.if_ == step.if_ and other.when != "failed" and not other.may_fail:
                succeeded.add(each)
                ran.add(each)
        return Known(frozenset(succeeded), frozenset(ran))

    def _before(self, name: str) -> Known:
        """Return the same for when the needs of a step are met. Without recursion: a chain may be long."""
        left, opened = [name], set[str]()
        while left:
            each = left.pop()
            if each in self._known:
                continue
            if each in opened:
                self._known[each] = self._follow(each)
            else:
                opened.add(each)
                left.append(each)
                left += [need for need in self._steps[each].needs if need in self._steps and need not in opened]
        return self._known[name]

    def _follow(self, name: str) -> Known:
        step = self._steps[name]
        needs = {each: self._steps[each] for each in step.needs if each in self._steps}
        succeeded: set[str] = set()
        ran: set[str] = set()
        if step.when == "succeeded":
            for each, other in needs.items():
                if other.may_fail or other.when == "failed":
                    continue
                # It succeeded, or its needs were met and its `if` gave false.
                before = self._known.get(each, Known())  # in a circle nothing is
                succeeded |= before.succeeded
                ran |= before.ran
                if other.if_ is None:
                    succeeded.add(each)
                    ran.add(each)
        if self._stops and self._runs_after_a_stop(name):
            return Known(frozenset(succeeded), frozenset(ran))
        met = {each for each in needs if step.when == "succeeded"} | succeeded
        for each, other in needs.items():
            if each not in ran and other.if_ is None and self._was_admitted(other, met):
                before = self._known.get(each, Known())
                succeeded |= before.succeeded
                ran |= {*before.ran, each}
        return Known(frozenset(succeeded), frozenset(ran))

    def _runs_after_a_stop(self, name: str) -> bool:
        seen: set[str] = set()
        left = [name]
        while left:
            each = left.pop()
            if each not in seen and each in self._steps:
                seen.add(each)
                if self._steps[each].when != "succeeded":
                    return True
                left += self._steps[each].needs
        return False

    def _was_admitted(self, step: Step, met: set[str]) -> bool:
        """Return whether a step that has ended was started; ``met``: steps that held nobody up."""
        if step.when == "succeeded":
            return all(each in met or self._steps[each].may_fail for each in step.needs if each in self._steps)
        return step.when == "ended"
