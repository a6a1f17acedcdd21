"""Check the steps of a flow against each other: needs, conditions, items, and placeholders. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

from runner._dataclass import dataclass
from runner.catalog.certainty import Certainty
from runner.catalog.circles import circles
from runner.catalog.steps import ITEM
from runner.model.message import advise, as_message, suggest
from runner.model.option import Path, Report, closest
from runner.model.param import Param
from runner.model.step import MOST_ITEMS, Step
from runner.model.template import STEP_WORD, is_placeholder, params_known, placeholders
from runner.params.values import ARTICLES, show

OF_STEP = re.compile(rf"steps\.({STEP_WORD})\.(state|results|result)((?:[.\[].*)?)", re.DOTALL)
"""The name of a placeholder for another step: the step, ``result`` or the like, and the path below the value."""
_PART = re.compile(r"\.([A-Za-z0-9_-]+)|\[([0-9]+)\]")
_RUN_ID = "${run.id}"
_OPTIONS = ("if_", "each", "params", "kwargs", "env")
_APPROVED = ("approved_by", "comment")
"""The keys of an approval's result."""


class Reference(NamedTuple):
    """A placeholder in a step: its path below the step, and its name."""

    path: Path
    name: str

    @property
    def shown(self) -> str:
        return f"${{{self.name}}}"


@dataclass(frozen=True)
class Graph:
    """The valid steps of a job.

    ``names`` are all declared steps: a reference to an invalid step is taken as correct.
    """

    steps: Mapping[str, Step]
    names: tuple[str, ...]
    params: Mapping[str, Param]
    stops: bool = False
    """Whether the flow stops when a step fails."""

    @cached_property
    def needed(self) -> dict[str, frozenset[str]]:
        """All steps that each step needs, directly or indirectly; a step in a circle needs itself."""
        return {name: frozenset(self._needed(name)) for name in self.steps}

    def _needed(self, name: str) -> set[str]:
        found: set[str] = set()
        left = list(self.steps[name].needs)
        while left:
            needed = left.pop()
            if needed not in found and needed in self.names:
                found.add(needed)
                left += self.steps[needed].needs if needed in self.steps else ()
        return found

    def is_known(self, name: str) -> bool:
        """Return whether all steps that a step needs are valid."""
        return self.needed[name].issubset(self.steps)

    @cached_property
    def certainty(self) -> Certainty:
        """The steps that have certainly run, or succeeded, when another one runs."""
        return Certainty(self.steps, stops=self.stops)


def check_graph(
    steps: Mapping[str, Step],
    names: Iterable[str],
    params: Mapping[str, Param],
    path: Path,
    report: Report,
    *,
    stops: bool = False,
) -> bool:
    """Report the problems between the steps of a job; return whether there are none.

    Args:
        steps: the steps that are valid by themselves.
        names: all declared steps.
        params: the params of the job.
        path: the path of ``steps``.
        report: records the problems.
        stops: whether the flow stops when a step fails.
    """
    graph = Graph(steps, tuple(names), params, stops)
    faults = [*_needs(graph), *(fault for name in steps for fault in _step(graph, name))]
    for below, message in faults:
        report((*path, *below), message)
    sound = not faults
    for name, step in steps.items():
        for option in ("if", "each", "params", "kwargs", "env"):
            value = getattr(step, "if_" if option == "if" else option)
            sound &= params_known(value, params, (*path, name, option), report)
    if ITEM in params and any(step.each is not None for step in steps.values()):
        what = f"{ITEM} is the item of a step with each"
        report((*path[:-1], "params", ITEM), advise(what, "rename the param"), on_key=True)
        sound = False
    return sound


Faults = Iterator[tuple[Path, str]]


def _needs(graph: Graph) -> Faults:
    edges: dict[tuple[str, str], int] = {}
    for name, step in graph.steps.items():
        for number, needed in enumerate(step.needs):
            at = (name, "needs", number)
            if needed == name:
                yield at, advise("a step cannot need itself", "remove it")
            elif needed in graph.names:
                edges[name, needed] = number
            else:
                what, close = f"no step is named {needed}", closest(needed, graph.names)
                if close is None:
                    yield at, advise(what, f"use one of {_listed(graph.names)}, or add the step")
                else:
                    fits = close not in (name, *step.needs) and name not in graph.needed.get(close, ())
                    yield at, suggest(what, close, replacement=close if fits else "")
    for name, number, message in circles(edges):
        yield (name, "needs", number), message


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:8]) + (", …" if len(shown) > 8 else "")


def references(step: Step) -> Iterator[Reference]:
    """Yield the placeholders of a step, each with the option that contains it."""
    for field in _OPTIONS:
        for below, name in placeholders(getattr(step, field)):
            yield Reference(("if" if field == "if_" else field, *below), name)


def _step(graph: Graph, name: str) -> Faults:
    step = graph.steps[name]
    for reference in references(step):
        fault = _reference(graph, name, reference)
        if fault is not None:
            yield (name, *reference.path), as_message(fault).after(f"{reference.shown}: ", reference.shown)
    if step.each is not None:
        yield from (((name, "each", *below), fault) for below, fault in _texts_of_each(graph, name))
    if step.if_ is not None:
        types = types_of(graph, name, step.if_)
        if step.if_ != _RUN_ID and types and "boolean" not in types:
            what = f"{step.if_} is {named_types(types)}, but if needs true or false"
            yield (name, "if"), advise(what, "let the step return true or false, or declare type: boolean")


def named_types(types: Iterable[str]) -> str:
    """Return the names of JSON types, for a message."""
    return " or ".join(ARTICLES[name] for name in types)


def _texts_of_each(graph: Graph, name: str) -> Iterator[tuple[Path, str]]:
    written = graph.steps[name].each
    lists: list[tuple[Path, Any]] = [((), written)]
    if isinstance(written, Mapping):
        lists = [((key,), value) for key, value in written.items()]
    for path, value in lists:
        if isinstance(value, tuple):
            if not value:
                yield path, advise("is empty, so the step would never run", "list at least one", "; ")
            continue
        types = types_of(graph, name, value)
        if value != _RUN_ID and types and "array" not in types:
            what = f"{value} is {named_types(types)}, but each needs a list"
            yield (
                path,
                advise(what, 'use a placeholder for one, such as "${steps.extract.result.files}"', "; "),
            )
    count = prod(len(value) for _, value in lists if isinstance(value, tuple))
    if len(lists) > 1 and count > MOST_ITEMS:
        yield (), advise(f"has {count:,} combinations, at most {MOST_ITEMS:,} are allowed", "split the step")


def types_of(graph: Graph, name: str, text: str) -> tuple[str, ...]:
    """Return the JSON types that the value of a placeholder may have in a step; empty if they are not known."""
    inner = text.strip()[2:-1].strip()
    if inner in ("run.id", "run.slot"):
        return ("string",)
    root, _, rest = inner.partition(".")
    if root == "params":
        return graph.params[rest].types if rest in graph.params else ()
    found = OF_STEP.fullmatch(inner)
    if found is None:
        return ()
    of, word, below = found.groups()
    step = graph.steps.get(of)
    if word == "state":
        return ("string",)
    if below or step is None or of == name:
        return ()
    if word == "results":
        return ("array",)
    return ("object",) if step.approval is not None else ()


def _reference(graph: Graph, name: str, reference: Reference) -> str | None:
    """Return the fault of a placeholder, or None."""
    step, option = graph.steps[name], str(reference.path[0])
    if reference.name == "run.id" and option in ("if", "each"):
        what = "the run of a step has no id yet when if and each are resolved"
        return advise(what, "use it in kwargs, env, or params")
    if reference.name.startswith(ITEM) and not reference.name.startswith("params"):
        return _item(step, option, reference.name.removeprefix(ITEM))
    found = OF_STEP.fullmatch(reference.name)
    if found is None:
        return None
    of, word, below = found.groups()
    if of not in graph.names:
        close = closest(of, graph.names)
        if close is None:
            return advise(f"no step is named {of}", "use a step listed under needs")
        meant = f"${{steps.{close}.{word}{below}}}"
        return suggest(f"no step is named {of}", meant, replacement=meant if close in graph.needed[name] else "")
    if of == name:
        return advise("a step has no result before it has ended", "use a step listed under needs")
    if of not in graph.needed[name]:
        if not graph.is_known(name):
            return None
        if name in graph.needed.get(of, ()):
            return advise(f"{of} needs this step, so it has not ended", "use a step listed under needs")
        return advise(f"the step does not need {of}, which may not have ended", f"add {of} to needs")
    other = graph.steps.get(of)
    if other is None or word == "state" or name in graph.needed[name]:
        return None
    fault = _value(other, of, word, below)
    return fault or (_uncertain(graph, name, option, of, word) if graph.is_known(name) else None)


def _item(step: Step, option: str, below: str) -> str | None:
    if option in ("if", "each"):
        what = "the items of a step are not known yet when if and each are resolved"
        return advise(what, "use it in kwargs, env, or params")
    if step.each is None:
        return advise("the step has no each, so it has no items", "add each, or remove it")
    if isinstance(step.each, Mapping):
        part = _PART.match(below)
        names = tuple(step.each)
        if part is None:
            return None
        if part[1] is None or part[1] not in names:
            close = closest(part[1] or "", names)
            what = f"the items have {_listed(names)}"
            meant = f"${{item.{close or names[0]}{below[part.end() :]}}}"
            if close is not None:
                return suggest(what, meant, replacement=meant)
            return advise(what, f"write {meant}", replacement=meant)
        return None
    if isinstance(step.each, tuple):
        for number, item in enumerate(step.each):
            if (fault := _missing(item, below)) is not None:
                return advise(f"item {number}, {show(item)}, has no {fault}", "correct the item or the placeholder")
    return None


def _missing(value: Any, below: str) -> str | None:
    """Follow a path into a literal value; return the first part that does not exist there, or None."""
    for part in _PART.finditer(below):
        if isinstance(value, str) and is_placeholder(value):
            return None
        key, index = part[1], part[2]
        if key is not None and isinstance(value, Mapping) and key in value:
            value = value[key]
        elif index is not None and isinstance(value, list | tuple) and int(index) < len(value):
            value = value[int(index)]
        else:
            return f"key {key}" if key is not None else f"index {index}"
    return None


def _value(other: Step, of: str, word: str, below: str) -> str | None:
    """Return the reason why a step never has such a value, or None."""
    if word == "result" and other.each is not None:
        meant = f"${{steps.{of}.results}}"
        return suggest(f"{of} has each, so it has a result for each item", meant, replacement=meant)
    if word == "results" and other.each is None:
        meant = f"${{steps.{of}.result}}"
        return suggest(f"{of} runs once", meant, replacement=meant)
    if other.result == "drop":
        return advise(f"{of} stores no result", f"remove result: drop from {of}")
    part = _PART.match(below)
    if other.approval is not None and part is not None and part[1] not in _APPROVED:
        what = f"the result of an approval has {' and '.join(_APPROVED)}"
        choice = tuple(f"${{steps.{of}.result.{key}}}" for key in _APPROVED)
        return advise(what, "use one of them", alternatives=choice)
    return None


def _uncertain(graph: Graph, name: str, option: str, of: str, word: str) -> str | None:
    """Return the reason why a step may have no result when another one runs, or None."""
    step, other = graph.steps[name], graph.steps[of]
    known = graph.certainty.of(name, with_if=option != "if")
    if of in (known.ran if word == "results" else known.succeeded):
        return None
    state = f"use ${{steps.{of}.state}}"
    if step.when != "succeeded":
        what = f"with when: {step.when}, this step runs even if {of} has no result"
        return advise(what, f"{state}, or remove when")
    if other.if_ is not None:
        what = f"{of} may be skipped by its if, and then has no result"
        same = f"add if: {other.if_} to this step" if option != "if" else "remove that if"
        return advise(what, f"{same}, or {state}", "; ")
    if other.when == "failed":
        return advise(f"{of} runs only after a failure, and otherwise has no result", state)
    if other.may_fail and word == "result":
        return advise(f"{of} may fail, and then has no result", f"remove may_fail from {of}, or {state}")
    if of not in step.needs:
        between = " and ".join(needed for needed in step.needs if of in graph.needed[needed])
        what = f"{of} may have no result: this step needs it only through {between}, which may fail or be skipped"
        return advise(what, f"add {of} to needs", "; ")
    causes = [needed for needed in other.needs if not graph.steps[needed].may_fail and needed not in step.needs]
    what = f"{of} may not have run, because {' or '.join(causes)} may fail"
    return advise(what, f"add {', '.join(causes)} to needs", "; ")


__all__ = ["OF_STEP", "Graph", "Reference", "check_graph", "references", "types_of"]
