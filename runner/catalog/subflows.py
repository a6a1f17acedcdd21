"""Check the steps that run other jobs: the jobs, their params, circles, and the depth of nesting. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.catalog.circles import circles
from runner.catalog.graph import Graph, named_types, types_of
from runner.model.job import JobSpec
from runner.model.message import Message, advise, suggest
from runner.model.option import closest
from runner.model.param import Param
from runner.model.step import Step
from runner.model.template import is_placeholder, placeholders, render
from runner.params.check import fits

MOST_LEVELS = 4
"""How deep flows may be nested."""

Find = Callable[[str], JobSpec | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem of a step of ``job``, at the path ``below`` the step."""

    job: str
    step: str
    below: tuple[str | int, ...]
    message: str
    on_key: bool = False

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path of the problem below the job."""
        return ("steps", self.step, *self.below)


def check_subflows(flows: Mapping[str, JobSpec], find: Find, names: list[str]) -> list[Fault]:
    """Return the problems of steps that run other jobs.

    Args:
        flows: the jobs with steps, by name.
        find: returns a valid job by its name.
        names: the names of all declared jobs, also of invalid ones.
    """
    faults: list[Fault] = []
    edges: dict[tuple[str, str], str] = {}
    for flow, name, step in _job_steps(flows):
        target = find(str(step.job))
        if target is not None:
            faults += (Fault(flow.name, name, *fault) for fault in _params(flow, name, step, target))
            edges.setdefault((flow.name, target.name), name)
        elif step.job not in names:
            faults.append(Fault(flow.name, name, ("job",), _unknown(flow, name, step, find, names)))
    in_circles = list(circles(edges))
    faults += (Fault(job, name, ("job",), message) for job, name, message in in_circles)
    closing = {(job, name) for job, name, _ in in_circles}
    left = {(job, target): name for (job, target), name in edges.items() if (job, name) not in closing}
    return faults + list(_too_deep(flows, left))


def _job_steps(flows: Mapping[str, JobSpec]) -> Iterator[tuple[JobSpec, str, Step]]:
    for flow in flows.values():
        for name, step in flow.steps.items():
            if step.job is not None:
                yield flow, name, step


def _unknown(flow: JobSpec, name: str, step: Step, find: Find, names: list[str]) -> Message:
    what = f"no job is named {step.job}"
    if step.job in flow.steps:
        return advise(f"{what}, it is a step of this one", "use it under needs", "; ")
    close = closest(str(step.job), names)
    if close is None:
        return advise(what, "add it, or use task")
    target = find(close)
    # A job with steps could lead back in a circle.
    fits_there = target is not None and not target.steps and not list(_params(flow, name, step, target))
    return suggest(what, close, replacement=close if fits_there else "")


def _too_deep(flows: Mapping[str, JobSpec], edges: Mapping[tuple[str, str], str]) -> Iterator[Fault]:
    below: dict[str, list[str]] = {}
    for flow, target in edges:
        if target in flows:
            below.setdefault(flow, []).append(target)
    levels: dict[str, int] = {}
    for start in flows:
        # Not recursive: a chain may be as long as the number of jobs.
        path = [start]
        while path:
            name = path[-1]
            left = [target for target in below.get(name, ()) if target not in levels]
            if left:
                path.append(left[0])
            else:
                levels[name] = 1 + max((levels[target] for target in below.get(name, ())), default=0)
                path.pop()
    for (flow, target), step in edges.items():
        # The flows that run this one are too deep for the same reason, which is reported once.
        if levels.get(target) == MOST_LEVELS:
            what = f"nests flows {MOST_LEVELS + 1} deep, at most {MOST_LEVELS} levels are allowed"
            yield Fault(flow, step, ("job",), advise(what, f"move the steps of {target} here", "; "))


def _params(flow: JobSpec, name: str, step: Step, target: JobSpec) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
    """Yield the invalid params for a job: the path, the message, and whether it is about the key."""
    for given in step.params:
        if given not in target.params:
            what, close = f"{given} is not a param of {target.name}", closest(given, target.params)
            if close is not None:
                message = suggest(what, close, replacement="" if close in step.params else close)
            else:
                known = ", ".join(target.params)
                message = advise(what, f"use {known}, or remove it" if known else "remove it")
            yield ("params", given), message, True
    missing = [other for other, param in target.params.items() if param.required and other not in step.params]
    if missing:
        what = f"{target.name} requires {', '.join(missing)}"
        yield ("job",), advise(what, f"add params: {{{missing[0]}: …}} to the step", "; "), False
    graph = Graph(flow.steps, tuple(flow.steps), flow.params)
    for given, value in step.params.items():
        if given in target.params and (fault := _unfit(graph, name, target.params[given], value)) is not None:
            yield ("params", given), fault, False


def _unfit(graph: Graph, name: str, param: Param, value: Any) -> str | None:
    """Return the message about a value that is never valid for a param, or None."""
    if not any(placeholders(value)):
        fault = fits(param, _literal(value))
        return None if fault is None else advise(f"is not valid for the param of the job: {fault}", "correct it", "; ")
    if not isinstance(value, str) or not param.types:
        return None
    types = types_of(graph, name, value) if is_placeholder(value) else ("string",)
    if not types or any(_overlap(given, taken) for given in types for taken in param.types):
        return None
    what = f"{value} is {named_types(types)}, but {param.name} of the job must be {named_types(param.types)}"
    return advise(what, "use another value", "; ")


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return render(value, str)
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list | tuple) else value


def _overlap(one: str, other: str) -> bool:
    numbers = ("integer", "number")
    return one == other or (one in numbers and other in numbers)
